// The page: puts language, backend, limits and editor together, runs the program, and keeps what became of it.

import { makeEditor } from "./editor.js";
import * as past from "./history.js";
import * as output from "./output.js";
import { get, run, ServerError } from "./run.js";

const $ = (id) => document.getElementById(id);
const MIB = 2 ** 20;
const HEALTH_EVERY = 30_000;

const editor = makeEditor($("editor"), {
  nonce: document.querySelector("meta[name=csp-nonce]").content,
  label: "Program",
  describedBy: "editor-help",
  onRun: () => $("program").requestSubmit(),
});

let info;
let running = null;
let sample = "";

const language = () => info.languages.find(({ name }) => name === $("language").value);

function options(select, names) {
  select.replaceChildren(...names.map((name) => new Option(name, name)));
}

function showLanguage() {
  const { name, hello, limits, unenforced } = language();
  editor.language = name;
  // What somebody has written stays.
  if (editor.text.trim() === sample.trim()) editor.text = sample = hello;
  $("timeout").placeholder = limits.timeout;
  $("memory").placeholder = limits.memory / MIB;
  const parts = [`${limits.cpus} CPU`, `${limits.processes} processes`, `${limits.scratch / MIB} MiB of files`,
    `${limits.output / MIB} MiB of output`, "no network"];
  const lacking = unenforced.length ? ` Not held by ${info.backend} here: ${unenforced.join(", ")}.` : "";
  $("limits").textContent = `Further limits: ${parts.join(", ")}.${lacking}`;
}

async function showHealth() {
  const items = (await get("/api/backends")).map(({ name, available, version, detail, fix }) => {
    const item = document.createElement("li");
    item.dataset.state = available ? "success" : "error";
    item.textContent = `${name} ${available ? version || "ready" : "unavailable"}`;
    item.title = [detail, fix].filter(Boolean).join(". ");
    for (const option of $("backend").options) if (option.value === name) option.disabled = !available;
    return item;
  });
  $("health").replaceChildren(...items);
  $("health").classList.remove("stale");
}

class FileError extends Error {}

async function fileOf(file) {
  const bytes = await file.arrayBuffer().catch((error) => {
    throw new FileError(`${file.name} cannot be read: ${error.message}`, { cause: error });
  });
  let content = "";
  for (const byte of new Uint8Array(bytes)) content += String.fromCharCode(byte);
  return { path: file.name, content: btoa(content) };
}

async function program() {
  const number = (field, factor) => (field.value === "" ? {} : { [field.id]: Number(field.value) * factor });
  return {
    code: editor.text,
    language: $("language").value,
    backend: $("backend").value,
    ...number($("timeout"), 1),
    ...number($("memory"), MIB),
    stdin: $("stdin").value,
    args: $("args").value.split("\n").filter(Boolean),
    collect: $("collect").value.split(/\s+/).filter(Boolean),
    files: await Promise.all([...$("files").files].map(fileOf)),
  };
}

const explains = (error) => error instanceof ServerError || error instanceof FileError;
const told = (error) => (explains(error) ? error.message : `The server cannot be reached: ${error.message}`);

function showHistory() {
  past.list($("history"), restore);
  $("forget").hidden = !$("history").hasChildNodes();
}

function setRunning(controller) {
  const [from, to] = controller ? [$("run"), $("stop")] : [$("stop"), $("run")];
  const focused = document.activeElement === from;
  running = controller;
  [from.disabled, to.disabled] = [true, false];
  if (focused) to.focus(); // what is disabled would lose the keyboard's place
  $("output").setAttribute("aria-busy", String(Boolean(controller)));
}

async function start() {
  const controller = new AbortController();
  setRunning(controller);
  output.clear();
  output.say("Running …", "running");
  const wrote = [];
  let asked;
  let line = "";
  let state = "";
  try {
    asked = await program();
    for await (const event of run(asked, controller.signal)) {
      if (event.event === "output") {
        output.write(event.data, event.stream);
        if (wrote.at(-1)?.[0] === event.stream) wrote.at(-1)[1] += event.data;
        else wrote.push([event.stream, event.data]);
      } else if (event.event === "finished") {
        [state, line] = [event.result.status, output.summary(event.result)];
        output.show(event.result);
      } else {
        throw new ServerError([event.error.cause, event.error.fix].filter(Boolean).join(". "));
      }
    }
    if (!state) throw new ServerError("The server ended before the program did");
  } catch (error) {
    if (controller.signal.aborted) [state, line] = ["stopped", "Stopped by you"];
    else [state, line] = ["error", told(error)];
    // What was healthy a moment ago is not known any more.
    $("health").classList.toggle("stale", !(controller.signal.aborted || explains(error)));
  } finally {
    setRunning(null);
  }
  output.say(line, state);
  if (!asked) return; // nothing was run
  past.add({ program: { ...asked, files: [] }, output: wrote, state, line });
  showHistory();
}

function restore({ program: { code, language: name, backend, args, stdin }, output: wrote, state, line }) {
  if (running) return;
  if ([...$("language").options].some(({ value }) => value === name)) $("language").value = name;
  if ([...$("backend").options].some(({ value }) => value === backend)) $("backend").value = backend;
  editor.text = code;
  $("args").value = args.join("\n");
  $("stdin").value = stdin;
  showLanguage();
  output.clear();
  for (const [stream, text] of wrote) output.write(text, stream);
  output.say(line, state);
}

$("program").addEventListener("submit", (event) => {
  event.preventDefault();
  if (!running && info) start();
});
$("stop").addEventListener("click", () => running?.abort());
$("language").addEventListener("change", showLanguage);
$("forget").addEventListener("click", () => {
  past.forget();
  showHistory();
  editor.focus();
});
$("logout").addEventListener("click", async () => {
  await fetch("/logout", { method: "POST" });
  location.assign("/login");
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !event.defaultPrevented) $("program").requestSubmit();
});

try {
  info = await get("/api/info");
  options($("language"), info.languages.map(({ name }) => name));
  options($("backend"), info.backends);
  $("backend").value = info.backend;
  if (info.languages.some(({ name }) => name === "python")) $("language").value = "python";
  $("timeout").max = info.most.timeout;
  $("memory").max = info.most.memory / MIB;
  $("logout").hidden = !info.logs_in;
  if (info.languages.length) showLanguage();
  else output.say("No language is installed.", "error");
  showHistory();
  editor.focus();
  await showHealth();
  setInterval(() => document.hidden || showHealth().catch(() => $("health").classList.add("stale")), HEALTH_EVERY);
} catch (error) {
  output.say(told(error), "error");
}
