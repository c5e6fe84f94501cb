// Runs the cells of a session one after another in one state, with Node's own REPL as the evaluator: it keeps
// `let` and `const`, and knows top-level await. It runs inside the sandbox, alone.
'use strict';
const fs = require('fs');
const path = require('path');
const repl = require('repl');
const util = require('util');
const vm = require('vm');
const { PassThrough } = require('stream');

const LONGEST_VALUE = 32 * 1024; // characters; the end mark, which holds it, may be 64 KiB
const INTERRUPTED = 'ERR_SCRIPT_EXECUTION_INTERRUPTED';
const pipe = process.argv[1];
const asked = path.join(path.dirname(pipe), 'interrupt'); // names the cell that is to end
const stdout = process.stdout.write.bind(process.stdout);
const stderr = process.stderr.write.bind(process.stderr);
const evaluator = repl.start({
  prompt: '', input: new PassThrough(), output: new PassThrough(), terminal: false, useGlobal: true,
  breakEvalOnSigint: true,
});
// An error that a cell throws comes through the evaluator's domain, where Node still has one.
let failed = () => {};
if (evaluator._domain) {
  evaluator._domain.removeAllListeners('error');
  evaluator._domain.on('error', (error) => failed(error));
}
// A cell may wait for what never comes: the process must not end for want of work.
setInterval(() => {}, 2 ** 30);
// While a cell awaits something, this listener ends it; between cells there is nothing to end.
const interrupted = () => Object.assign(new Error('interrupted'), { code: INTERRUPTED });
process.on('SIGINT', () => failed(interrupted()));
// While it runs on without a pause, Node itself watches SIGINT and has put the listeners aside. It does so from before
// the look for a signal that has come already, and while a cell is read and compiled too.
const guard = vm.createContext({});
const guarded = new vm.Script('begin()');
process.on('uncaughtException', (error) => stderr(text(error) + '\n'));
process.on('unhandledRejection', (error) => stderr(text(error) + '\n'));

// An error as Node prints it, without the frames from the cell's own last one on: they are this file's.
function text(error) {
  if (!(error instanceof Error && error.stack)) return util.inspect(error);
  const lines = error.stack.split('\n');
  const frames = lines.findIndex((line) => /^ +at /.test(line));
  if (frames < 0 || !lines.some((line) => line.includes('[eval]:'))) return error.stack;
  while (lines.length > frames && !/^ +at .*\bcell-\d+:/.test(lines[lines.length - 1])) lines.pop();
  return lines.join('\n');
}

function run(source, number) {
  return new Promise((resolve) => {
    const end = (code, note) => {
      failed = () => {};
      resolve([code, note]);
    };
    const fail = (error) => {
      stderr(text(error instanceof repl.Recoverable ? error.err : error) + '\n');
      end(error && error.code === INTERRUPTED ? 130 : 1, {});
    };
    failed = fail;
    const evaluated = (error, value) => {
      if (failed !== fail) return; // What an interrupted cell had awaited has come after its end.
      if (error) fail(error);
      else end(0, value === undefined ? {} : { value: util.inspect(value).slice(0, LONGEST_VALUE) });
    };
    let begun = false;
    guard.begin = () => {
      if (isAskedToEnd(number)) return;
      begun = true;
      evaluator.eval(source + '\n', evaluator.context, `cell-${number}`, evaluated);
    };
    do {
      try {
        guarded.runInContext(guard, { breakOnSigint: true, displayErrors: false });
      } catch (error) {
        if (error.code !== INTERRUPTED) failed(error);
        else if (begun) failed(interrupted()); // Node's own is one of the other context.
      }
      if (isAskedToEnd(number)) {
        // Node may have let the signal fall as it gave the watch back, or have kept it for its next watch.
        failed(interrupted());
        forget();
      }
    } while (!begun && failed === fail);
  });
}

function forget() {
  guard.begin = () => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5);
  try {
    guarded.runInContext(guard, { breakOnSigint: true, displayErrors: false });
  } catch (error) {
    if (error.code !== INTERRUPTED) throw error;
  }
}

function isAskedToEnd(number) {
  try {
    return fs.readFileSync(asked, 'utf8').trim() === number;
  } catch {
    return false;
  }
}

async function serve() {
  fs.writeFileSync(path.join(path.dirname(pipe), 'pid'), `${process.pid}\n`);
  for (;;) {
    const [boundary, number, source] = (await fs.promises.readFile(pipe, 'utf8')).trim().split(' ');
    const [code, note] = await run(fs.readFileSync(source, 'utf8'), number);
    const mark = `${boundary} run ${code} - - - ${Buffer.from(JSON.stringify(note)).toString('base64')}\n`;
    stdout(mark);
    stderr(mark);
  }
}

serve();
