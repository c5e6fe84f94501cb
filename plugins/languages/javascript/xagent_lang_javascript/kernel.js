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
const interrupts = path.join(path.dirname(pipe), 'interrupt'); // names the cell that is to end
const stdout = written(process.stdout, 1);
const stderr = written(process.stderr, 2);
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
const interrupted = () => Object.assign(new Error('interrupted'), { code: INTERRUPTED });
let met; // the cell whose signal has come
// While a cell awaits something, this listener ends it; between cells there is nothing to end.
process.on('SIGINT', () => {
  met = askedToEnd();
  failed(interrupted());
});
// While it runs on without a pause, Node itself watches SIGINT and has put the listeners aside. It does so from before
// the look for a signal that has come already, and while a cell is read and compiled too.
const guard = vm.createContext({});
const guarded = new vm.Script('begin()');
process.on('uncaughtException', (error) => stderr(text(error) + '\n'));
process.on('unhandledRejection', (error) => stderr(text(error) + '\n'));

// Has a stream write by the system's call alone, as Node itself does to pipes in the end: a signal that ends a cell amid
// the steps of Node's own streams leaves them waiting for ever.
function written(stream, fd) {
  return (stream.write = (chunk, encoding, callback) => {
    const data = typeof chunk === 'string' ? Buffer.from(chunk, typeof encoding === 'string' ? encoding : 'utf8') : chunk;
    for (let at = 0; at < data.length; ) {
      try {
        at += fs.writeSync(fd, data, at);
      } catch (error) {
        if (error.code !== 'EAGAIN') throw error;
        pause(1);
      }
    }
    const done = typeof encoding === 'function' ? encoding : callback;
    if (done) process.nextTick(done);
    return true;
  });
}

function pause(milliseconds) {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds);
}

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
  const asked = askedToEnd();
  if (asked !== number && asked !== met) forget(asked);
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
      if (askedToEnd() === number) return;
      begun = true;
      evaluator.eval(source + '\n', evaluator.context, `cell-${number}`, evaluated);
    };
    do {
      try {
        guarded.runInContext(guard, { breakOnSigint: true, displayErrors: false });
      } catch (error) {
        if (error.code === INTERRUPTED) {
          met = askedToEnd();
          if (begun) failed(interrupted()); // Node's own is one of the other context.
        } else {
          failed(error);
        }
      }
      if (askedToEnd() === number) failed(interrupted()); // Node may have let the signal fall as it gave the watch back.
    } while (!begun && failed === fail);
  });
}

// A signal that came as Node gave its watch back may have been kept for the next one, and would end the cell that runs
// then: it is met here.
function forget(asked) {
  guard.begin = () => pause(100);
  try {
    guarded.runInContext(guard, { breakOnSigint: true, displayErrors: false });
  } catch (error) {
    if (error.code !== INTERRUPTED) throw error;
  }
  met = asked;
}

// The number of the last cell that was to end.
function askedToEnd() {
  try {
    return fs.readFileSync(interrupts, 'utf8').trim();
  } catch {
    return undefined;
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
