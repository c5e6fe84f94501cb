"""TypeScript: what types alone do not make JavaScript of, and what programs for Node take for granted."""

from __future__ import annotations

import pytest
import pytest_asyncio

from xagent_core import InputFile

pytestmark = pytest.mark.asyncio(loop_scope="session")

FEATURES = {
    "enum": ("enum C { Red, Green = 'g', Blue = 1 << 3 }\nconsole.log(C[0], C.Green, C.Blue)", "Red g 8"),
    "const enum": ("const enum Level { Low = 1, High }\nconsole.log(Level.High)", "2"),
    "namespace": (
        "namespace Geo { export const pi = 3; export namespace Flat { export const area = pi * 4 } }\n"
        "console.log(Geo.Flat.area)",
        "12",
    ),
    "parameter properties": (
        "class P { constructor(private readonly x: number, public y = 2) {} sum() { return this.x + this.y } }\n"
        "console.log(new P(1).sum(), new P(1).y)",
        "3 2",
    ),
    "abstract and generic classes": (
        "abstract class A<T> { abstract get(): T; show(): string { return `<${this.get()}>` } }\n"
        "class B extends A<number> { override get() { return 4 } }\nconsole.log(new B().show())",
        "<4>",
    ),
    "types of every kind": (
        "interface I { a?: number; readonly [key: string]: unknown }\ntype U = I | null;\n"
        "function f(x: string): string; function f(x: number): number;\nfunction f(x: any) { return x }\n"
        "declare const nothing: string;\nlet v = f(3) as unknown as number; let w = <number>v; let n = w!;\n"
        "const o = { a: 1 } satisfies I;\nfunction is(x: unknown): x is U { return x === null }\n"
        "console.log(n, o.a, is(null))",
        "3 1 true",
    ),
    "private fields and accessors": (
        "class C { #n = 1; static s = 5; get n(): number { return this.#n } set n(v: number) { this.#n = v } }\n"
        "const c = new C(); c.n += 2; console.log(c.n, C.s)",
        "3 5",
    ),
    "optional chaining": ("const a: { b?: { c: number } } = {};\nconsole.log(a?.b?.c ?? 'none')", "none"),
    "a type error is not checked": ("const x: number = 'text';\nconsole.log(x)", "text"),
    "node modules": (
        "import { createHash } from 'node:crypto';\nimport path from 'path';\nimport * as os from 'os';\n"
        "console.log(createHash('sha1').update('a').digest('hex').slice(0, 4), path.sep, os.EOL.length)",
        "86f7 / 1",
    ),
    "import type": ("import type { Stats } from 'fs';\nconst s: Stats | null = null;\nconsole.log(s)", "null"),
    "import equals": ("import fs = require('fs');\nconsole.log(typeof fs.readFileSync)", "function"),
    "require": ("const fs = require('fs');\nconsole.log(typeof fs.readFileSync, __dirname)", "function /tmp/work"),
    "main check of commonjs": (
        "import * as fs from 'fs';\nfunction main() { console.log('main') }\nif (require.main === module) main()",
        "main",
    ),
    "main check of modules": (
        "import { pathToFileURL, fileURLToPath } from 'node:url';\n"
        "if (import.meta.url === pathToFileURL(process.argv[1]).href) console.log('main')\n"
        "if (fileURLToPath(import.meta.url) === process.argv[1]) console.log(import.meta.dirname)",
        "main\n/tmp/work",
    ),
    "top-level await": ("const x: number = await Promise.resolve(5);\nconsole.log(x)", "5"),
    "top-level await and require": (
        "const { sep } = require('path');\nconsole.log(await Promise.resolve(sep as string), __dirname)",
        "/ /tmp/work",
    ),
    "for await": ("async function* g() { yield 1 }\nfor await (const x of g()) console.log(x)", "1"),
    "create require": (
        "import { createRequire } from 'node:module';\nconst require = createRequire(import.meta.url);\n"
        "console.log(typeof require('fs').readFileSync)",
        "function",
    ),
    "strict mode": (
        "try { (Object.freeze({ a: 1 }) as any).a = 2 } catch (e) { console.log((e as Error).name) }",
        "TypeError",
    ),
    "worker of itself": (
        "import { Worker, isMainThread } from 'node:worker_threads';\n"
        "if (isMainThread) new Worker(__filename); else console.log('worker')",
        "worker",
    ),
    "generators and symbols": ("function* g(): Generator<number> { yield* [1, 2] }\nconsole.log([...g()].length)", "2"),
    "exports of a program": ("export const x = 1;\nexport default class {}\nconsole.log(x)", "1"),
    "shebang": ("#!/usr/bin/env ts-node\nconsole.log(1)", "1"),
    "dynamic import": ("const os = await import('node:os');\nconsole.log(os.EOL === '\\n')", "true"),
}  # fmt: skip


@pytest.mark.parametrize("name", FEATURES)
async def test_a_program_for_node_runs_unchanged(engine, name):
    program, expected = FEATURES[name]

    result = await engine.execute(program, language="typescript")

    assert (result.status, result.error) == ("success", "")
    assert result.output == f"{expected}\n"


@pytest.mark.parametrize(
    ("program", "path", "content"),
    [
        ("import { value } from './part';\nconsole.log(value)", "part.ts", "export const value: number = 1"),
        ("import { value } from './part.js';\nconsole.log(value)", "part.ts", "export const value: number = 1"),
        ("import { value } from './part.ts';\nconsole.log(value)", "part.ts", "export const value: number = 1"),
        ("import { E } from './lib';\nconsole.log(E.A)", "lib/index.ts", "export enum E { A = 1 }"),
        ("const { value } = require('./part');\nconsole.log(value)", "part.ts", "export const value: number = 1"),
        ("import { value } from './part.js';\nconsole.log(await value)", "part.js", "export const value = 1"),
        ("import part from './part.cjs';\nconsole.log(part.value)", "part.cjs", "exports.value = 1"),
        ("import part from './part.json';\nconsole.log(part.value)", "part.json", '{"value": 1}'),
        ("import { value } from 'part';\nconsole.log(value)", "node_modules/part/index.js", "exports.value = 1"),
    ],
)  # fmt: skip
async def test_files_beside_it_are_imported_however_that_is_spelt(engine, program, path, content):
    result = await engine.execute(program, language="ts", files=[InputFile(path, content.encode())])

    assert (result.status, result.output, result.error) == ("success", "1\n", "")


@pytest.mark.parametrize(
    ("program", "words"),
    [
        pytest.param("enum { A }", ["main.ts:1"], id="enum without a name"),
        pytest.param("const x = await f();\nlet y: = 3;", ["main.ts:2"], id="beside a top-level await"),
    ],
)
async def test_a_mistake_is_found_before_anything_runs(engine, program, words):
    result = await engine.execute(f"{program}\nconsole.log('ran')", language="typescript")

    assert (result.status, result.phase, result.output) == ("error", "build", "")
    for word in words:
        assert word in result.error


@pytest.mark.parametrize(
    ("program", "code", "words"),
    [
        pytest.param("import { x } from 'lodash';\nx()", 1, ["Cannot find", "lodash"], id="missing package"),
        pytest.param("interface A {}\nPromise.reject(new Error('lost'))", 1, ["main.ts:2", "lost"], id="rejection"),
        pytest.param("enum E { A }\n\nawait 1;\nthrow new Error('late')", 1, ["main.ts:4", "late"], id="module"),
        pytest.param("await new Promise<void>(() => {})", 13, [], id="await without end"),
    ],
)
async def test_a_failure_names_the_line_of_the_source(engine, program, code, words):
    result = await engine.execute(program, language="typescript")

    assert (result.status, result.exit_code, result.phase) == ("error", code, "run")
    for word in words:
        assert word in result.error


@pytest_asyncio.fixture(loop_scope="session")
async def esbuild(engine):
    """Skips where sandboxes have no esbuild, and TypeScript is left to Node.js."""
    program = (
        "import { spawnSync } from 'child_process';\nprocess.exit(spawnSync('esbuild', ['--version']).status ?? 1)"
    )
    if not (await engine.execute(program, language="typescript")).ok:
        pytest.skip(f"{engine.backend.name} has no esbuild: apt-get install esbuild, or xagent images build")


async def test_with_esbuild_a_missing_file_is_found_before_anything_runs(engine, esbuild):
    result = await engine.execute("console.log('ran');\nimport './nothing'", language="typescript")

    assert (result.status, result.phase, result.output) == ("error", "build", "")
    assert "main.ts:2:7" in result.error


async def test_with_esbuild_interfaces_are_imported_like_values(engine, esbuild):
    part = InputFile("part.ts", b"export interface Value {}\nexport const value: Value = 1")

    result = await engine.execute(
        "import { Value, value } from './part';\nconst v: Value = value;\nconsole.log(v)", language="ts", files=[part]
    )

    assert (result.status, result.output, result.error) == ("success", "1\n", "")


@pytest.mark.parametrize("language", ["ts", "mts", "cts", "typescript"])
async def test_every_extension_is_typescript(engine, language):
    result = await engine.execute("enum E { A = 3 }\nconsole.log(E.A as number)", language=language)

    assert (result.language, result.output, result.error) == ("typescript", "3\n", "")
