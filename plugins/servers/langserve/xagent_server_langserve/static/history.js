// Earlier runs of this tab: they are gone when it is closed.

const KEY = "xagent-history";
const MOST = 50;
const LONGEST = 20_000;

/** The earlier runs, newest first. */
export function all() {
  try {
    return JSON.parse(sessionStorage.getItem(KEY)) ?? [];
  } catch {
    return [];
  }
}

/** Keeps a run: its program, what it wrote, and what became of it. */
export function add(run) {
  const output = run.output.map(([stream, text]) => [stream, text.slice(-LONGEST)]).slice(-200);
  const runs = [{ ...run, output, at: new Date().toISOString() }, ...all()].slice(0, MOST);
  // The browser's own limit is what counts: the oldest go first.
  while (runs.length > 0) {
    try {
      sessionStorage.setItem(KEY, JSON.stringify(runs));
      return;
    } catch {
      runs.pop();
    }
  }
}

/** Forgets all. */
export function forget() {
  sessionStorage.removeItem(KEY);
}

/** Fills a list with the runs; choosing one hands it over. */
export function list(element, choose) {
  element.replaceChildren(...all().map((run) => {
    const button = document.createElement("button");
    button.type = "button";
    const first = run.program.code.trim().split("\n")[0].slice(0, 80) || "(empty)";
    const time = new Date(run.at).toLocaleTimeString();
    for (const [name, text] of [["state", run.state], ["what", first], ["when", `${run.program.language} · ${time}`]]) {
      const part = document.createElement("span");
      part.className = name;
      if (name === "state") part.dataset.state = text;
      part.textContent = text;
      button.append(part);
    }
    button.addEventListener("click", () => choose(run));
    const item = document.createElement("li");
    item.append(button);
    return item;
  }));
}
