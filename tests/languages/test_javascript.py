"""JavaScript: CommonJS, ES modules and top-level await, told apart by their syntax or by their extension."""

from __future__ import annotations

import pytest

from xagent_core import InputFile

pytestmark = pytest.mark.asyncio(loop_scope="session")

PROGRAMS = {
    "commonjs": ("console.log(require.main === module, typeof exports, __filename)", "true object /tmp/work/main.js\n"),
    "module": ("import { sep } from 'node:path';\nconsole.log(sep, import.meta.url)", "/ file:///tmp/work/main.js\n"),
    "top-level await": ("console.log(await Promise.resolve(5))", "5\n"),
    "export": ("export default 1;\nconsole.log(typeof require, this)", "undefined undefined\n"),
    "dynamic import": ("import('node:os').then((os) => console.log(os.EOL === '\\n'))", "true\n"),
    "sloppy": ("undeclared = 3; console.log(undeclared, this === module.exports)", "3 true\n"),
    "return at the top": ("console.log(1); return; console.log(2)", "1\n"),
    "shebang": ("#!/usr/bin/env node\nconsole.log(1)", "1\n"),
    "worker": (
        "const { Worker, isMainThread } = require('worker_threads');\n"
        "if (isMainThread) new Worker(__filename); else console.log('worker')",
        "worker\n",
    ),
    "child": (
        "const { fork } = require('child_process');\n"
        "if (process.send) process.send('child'); else fork(__filename).on('message', (m) => console.log(m))",
        "child\n",
    ),
    "its own source": ("console.log(require('fs').readFileSync(__filename, 'utf8').length)", "66\n"),
    "timers": ("setTimeout(() => console.log('late'), 20); console.log('early')", "early\nlate\n"),
    "much output": ("for (let i = 0; i < 20000; i++) console.log('0123456789')", "0123456789\n" * 20_000),
    "exit code": ("process.on('exit', (c) => console.log(c)); process.exitCode = 0", "0\n"),
}


@pytest.mark.parametrize("name", PROGRAMS)
async def test_a_program_runs_as_a_file_does(engine, name):
    program, expected = PROGRAMS[name]

    standing_by = await engine.execute(program, language="javascript")
    as_a_file = await engine.execute(program, language="javascript", env={"OWN": "1"})

    for result in (standing_by, as_a_file):
        assert (result.status, result.error) == ("success", "")
        assert result.output == expected


@pytest.mark.parametrize(
    ("program", "code", "words"),
    [
        pytest.param("Promise.reject(new Error('lost'))", 1, "Error: lost", id="unhandled rejection"),
        pytest.param("await new Promise(() => {})", 13, "", id="await without end"),
        pytest.param("import './nothing.mjs'", 1, "ERR_MODULE_NOT_FOUND", id="missing module"),
        pytest.param("require('lodash')", 1, "Cannot find module 'lodash'", id="missing package"),
        pytest.param("import x from 'fs'; let y = ;", 1, "SyntaxError: Unexpected token ';'", id="syntax of a module"),
        pytest.param("process.abort()", 134, "", id="abort"),
    ],
)
async def test_a_failure_is_nodes_own(engine, program, code, words):
    result = await engine.execute(program, language="javascript")

    assert (result.status, result.exit_code) == ("error", code)
    assert words in result.error


@pytest.mark.parametrize(
    ("language", "kind"), [("js", "object"), ("cjs", "object"), ("mjs", "undefined"), ("node", "object")]
)
async def test_the_extension_says_what_syntax_does_not(engine, language, kind):
    result = await engine.execute("console.log(typeof module)", language=language)

    assert (result.output, result.error) == (f"{kind}\n", "")
    assert result.language == "javascript"


@pytest.mark.parametrize(
    ("program", "path", "content"),
    [
        ("console.log(require('./part').value)", "part.js", "exports.value = 1"),
        ("console.log(require('./part').value)", "part.json", '{"value": 1}'),
        ("import { value } from './part.mjs'; console.log(value)", "part.mjs", "export const value = 1"),
        ("import { value } from './part.js'; console.log(value)", "part.js", "export const value = 1"),
        ("import part from './part.cjs'; console.log(part.value)", "part.cjs", "exports.value = 1"),
        ("import('./lib/part.mjs').then((p) => console.log(p.value))", "lib/part.mjs", "export const value = 1"),
    ],
)
async def test_files_beside_it_are_required_and_imported(engine, program, path, content):
    result = await engine.execute(program, language="js", files=[InputFile(path, content.encode())])

    assert (result.output, result.error) == ("1\n", "")


async def test_node_starts_in_the_least_memory_that_it_needs(engine):
    result = await engine.execute("console.log(1)", language="js", memory_limit="64m")

    assert (result.status, result.output) == ("success", "1\n")
