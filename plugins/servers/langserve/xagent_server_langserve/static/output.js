// Shows what a program wrote and which files it left. All of it is text to this page, never markup.

const IMAGES = { png: "image/png", jpg: "image/jpeg", jpeg: "image/jpeg", gif: "image/gif", webp: "image/webp",
  svg: "image/svg+xml" };
const WORDS = { success: "Done", error: "Failed", timeout: "Stopped: its time was up", killed: "Stopped",
  out_of_memory: "Stopped: out of memory", output_limit: "Stopped: too much output" };

const $ = (id) => document.getElementById(id);
const pane = $("output");
let addresses = [];

// Whoever reads what was written earlier stays there; at the end, the latest is seen, also where the pane shrinks.
let atEnd = true;
const follow = () => {
  if (atEnd) pane.scrollTop = pane.scrollHeight;
};
pane.addEventListener("scroll", () => {
  atEnd = pane.scrollHeight - pane.scrollTop - pane.clientHeight < 40;
});
new ResizeObserver(follow).observe(pane);

/** Says how it stands, to the eye and to a screen reader. */
export function say(text, state = "") {
  $("status").textContent = text;
  $("status").dataset.state = state;
  pane.dataset.empty = state === "running" ? "No output yet." : "No output.";
}

/** Empties all that a run has shown. */
export function clear() {
  addresses.forEach(URL.revokeObjectURL);
  addresses = [];
  pane.replaceChildren();
  atEnd = true;
  $("figures").replaceChildren();
  $("others").replaceChildren();
  $("found").hidden = true;
}

/** Adds output; what follows on the same stream goes into the same element. */
export function write(text, stream) {
  if (pane.lastChild?.className === stream) {
    pane.lastChild.append(text);
  } else {
    const piece = document.createElement("span");
    piece.className = stream;
    piece.textContent = text;
    pane.append(piece);
  }
  follow();
}

/** A result in one line. */
export function summary({ status, exit_code: code, execution_time: seconds, phase, backend, usage }) {
  const memory = usage?.peak_memory ? `${(usage.peak_memory / 2 ** 20).toFixed(1)} MiB` : "";
  const exit = code === null || status === "success" ? "" : `exit code ${code}`;
  const build = phase === "build" ? "in its build" : "";
  return [WORDS[status] ?? status, build, exit, `${seconds.toFixed(2)} s`, memory, backend].filter(Boolean).join(" · ");
}

/** Shows the files of a result: images as such, and each to be saved. */
export function show(result) {
  for (const { path, content } of result.files) {
    const standard = content.replaceAll("-", "+").replaceAll("_", "/");
    const bytes = Uint8Array.from(atob(standard), (letter) => letter.charCodeAt(0));
    const kind = IMAGES[path.split(".").at(-1).toLowerCase()];
    // No other kind is named: what a program wrote must not open as a page of this origin.
    const address = URL.createObjectURL(new Blob([bytes], { type: kind ?? "application/octet-stream" }));
    addresses.push(address);
    const link = document.createElement("a");
    link.href = address;
    link.download = path.split("/").at(-1);
    link.textContent = `${path} (${bytes.length.toLocaleString("en")} bytes)`;
    const item = document.createElement("li");
    if (kind) {
      const image = document.createElement("img");
      image.src = address;
      image.alt = path;
      item.append(image);
    }
    item.append(link);
    $(kind ? "figures" : "others").append(item);
  }
  $("found").hidden = result.files.length === 0;
}
