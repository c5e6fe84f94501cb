// Speaks with the server: JSON, and programs whose events come as lines of JSON.

/** An error that says what the server had to say. */
export class ServerError extends Error {}

async function explained(answer) {
  if (answer.status === 401) {
    location.assign("/login");
  }
  const body = await answer.json().catch(() => ({}));
  const { cause, fix } = body.error ?? {};
  const wrong = Array.isArray(body.detail) ? body.detail.map(({ loc, msg }) => `${loc.at(-1)}: ${msg}`).join("; ") : "";
  return new ServerError([cause ?? (wrong || `The server answered ${answer.status}`), fix].filter(Boolean).join(". "));
}

/** What a path has to say. */
export async function get(path) {
  const answer = await fetch(path);
  if (!answer.ok) throw await explained(answer);
  return answer.json();
}

/**
 * Runs a program and yields its events: output as it comes, then finished or error.
 * @param {object} program What `/api/run` takes.
 * @param {AbortSignal} signal Closes the connection, which ends the program.
 */
export async function* run(program, signal) {
  const answer = await fetch("/api/run", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(program),
    signal,
  });
  if (!answer.ok) throw await explained(answer);
  let rest = "";
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) yield JSON.parse(line);
  }
}
