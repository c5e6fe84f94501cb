"""What holds for programs of every language: input, output, exit codes, files, and text as editors leave it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from xagent_core import InputFile
from xagent_core.types import KIB

pytestmark = pytest.mark.asyncio(loop_scope="session")

EXAMPLES = Path(__file__).parents[2] / "examples"
ENDINGS = {"python": "py", "javascript": "js", "typescript": "ts", "bash": "sh", "go": "go"}


def go(body, *imports):
    """A Go program of these statements."""
    lines = "\n".join(f'import "{name}"' for name in imports)
    return f"package main\n{lines}\nfunc main() {{\n{body}\n}}\n"


async def test_a_real_program_reads_input_and_file_and_its_result_is_collected(engine, language):
    program = EXAMPLES / f"totals.{ENDINGS[language]}"

    result = await engine.execute(
        program.read_text("utf-8"),
        language=language,
        stdin="north south\n",
        files=[InputFile("sales.csv", (EXAMPLES / "sales.csv").read_bytes())],
        collect=["*.json"],
    )

    assert (result.status, result.error) == ("success", "")
    assert result.output == "north       317.25\nsouth       310.50\n"
    assert [file.path for file in result.files] == ["totals.json"]
    assert json.loads(result.files[0].content) == {"north": 317.25, "south": 310.5}


SHOW = {
    "python": "import os, sys\nprint(sys.argv[1:], os.environ['NAME'], sys.stdin.read())",
    "javascript": "console.log(process.argv.slice(2), process.env.NAME, require('fs').readFileSync(0, 'utf8'))",
    "typescript": "import * as fs from 'fs';\n"
    "console.log(process.argv.slice(2), process.env.NAME, fs.readFileSync(0, 'utf8') as string)",
    "bash": r"""printf "[ '%s', '%s' ] %s %s\n" "$1" "$2" "$NAME" "$(cat)" """,
    "go": go(
        'input, _ := io.ReadAll(os.Stdin)\nfmt.Printf("[ \'%s\', \'%s\' ] %s %s\\n", '
        'os.Args[1], os.Args[2], os.Getenv("NAME"), input)',
        "fmt", "io", "os",
    ),
}  # fmt: skip


async def test_arguments_environment_and_input_arrive_as_given(engine, language):
    result = await engine.execute(
        SHOW[language], language=language, args=["a b", "$(x) 'q' \"*"], env={"NAME": "ä \\ $HOME `"}, stdin="ünö"
    )

    shown = result.output.replace("[ ", "[").replace(" ]", "]")
    assert (result.status, result.error) == ("success", "")
    assert shown.startswith("['a b', ")
    assert "$(x)" in shown
    assert shown.endswith("ä \\ $HOME ` ünö\n")


EXITS = {
    "python": "import sys\nprint('before')\nsys.exit(7)",
    "javascript": "console.log('before'); process.exit(7)",
    "typescript": "console.log('before' as string); process.exit(7)",
    "bash": "echo before; exit 7",
    "go": go('fmt.Println("before")\nos.Exit(7)', "fmt", "os"),
}


async def test_the_exit_code_is_the_programs_own(engine, language):
    result = await engine.execute(EXITS[language], language=language)

    assert (result.status, result.exit_code, result.phase) == ("error", 7, "run")
    assert result.output == "before\n"


FAILURES = {
    "python": (1, "def fail():\n    raise KeyError('broken')\n\nfail()\n", ["main.py", "line 2", "KeyError: 'broken'"]),
    "javascript": (1, "function fail() {\n  throw new Error('broken');\n}\nfail();\n", ["main.js:2", "Error: broken"]),
    "typescript": (1, "type T = string;\n\nfunction fail(x: T): never {\n  throw new Error(x);\n}\n\nfail('broken');\n",
                   ["main.ts:4", "main.ts:7", "Error: broken"]),
    "bash": (3, "set -e\nfail() {\n  no_such_program\n}\nfail || exit 3\n", ["main.sh: line 3", "no_such_program"]),
    "go": (2, 'package main\n\nfunc main() {\n\tpanic("broken")\n}\n', ["main.go:4", "panic: broken"]),
}  # fmt: skip


async def test_an_unhandled_failure_names_the_line_of_the_source(engine, language):
    code, program, words = FAILURES[language]

    result = await engine.execute(program, language=language)

    assert (result.status, result.exit_code, result.phase) == ("error", code, "run")
    for word in words:
        assert word in result.error


MISTAKES = {
    "python": ("x = = 1\n", "run", "SyntaxError: invalid syntax"),
    "javascript": ("let x = = 1;\n", "run", "SyntaxError: Unexpected token '='"),
    "typescript": ("const x: number = = 1;\n", "build", "main.ts:1"),
    "bash": ("if true; then\n", "run", "syntax error: unexpected end of file"),
    "go": ('package main\n\nfunc main() {\n\tvar x int = "text"\n}\n', "build", "main.go:4:"),
}


async def test_a_mistake_comes_back_in_the_compilers_own_words(engine, language):
    program, phase, words = MISTAKES[language]

    result = await engine.execute(program, language=language)

    assert (result.status, result.phase, result.output) == ("error", phase, "")
    assert words in result.error


UNICODE = {
    "python": r"naïve = 'héllo'; print(naïve, '日本', '🦊', '\\')",
    "javascript": r"const naïve = 'héllo'; console.log(naïve, '日本', '🦊', '\\')",
    "typescript": r"const naïve: string = 'héllo'; console.log(naïve, '日本', '🦊', '\\')",
    "bash": r"echo 'héllo' 日本 🦊 '\'",
    "go": go('naïve := "héllo"\nfmt.Println(naïve, "日本", "🦊", `\\`)', "fmt"),
}


@pytest.mark.parametrize(
    "edit",
    [
        pytest.param(lambda code: code, id="as written"),
        pytest.param(lambda code: "\ufeff" + code, id="byte-order mark"),
        pytest.param(lambda code: "\n\n" + code.replace("\n", "\r\n") + "\r\n", id="crlf"),
        pytest.param(lambda code: code.removesuffix("\n"), id="no last newline"),
    ],
)
async def test_text_runs_however_an_editor_left_it(engine, language, edit):
    result = await engine.execute(edit(UNICODE[language]), language=language)

    assert (result.status, result.error) == ("success", "")
    assert result.output == "héllo 日本 🦊 \\\n"


FOREVER = {
    "python": "print('before', end='')\nwhile True: pass",
    "javascript": "process.stdout.write('before'); for (;;) {}",
    "typescript": "process.stdout.write('before' as string); for (;;) {}",
    "bash": "printf before; while :; do :; done",
    "go": go('fmt.Print("before")\nfor {\n}', "fmt"),
}


async def test_what_was_printed_before_a_timeout_is_in_the_result(engine, language):
    # Go's linker may need a second of its own under half a CPU.
    result = await engine.execute(FOREVER[language], language=language, timeout=6 if language == "go" else 3)

    assert (result.status, result.phase) == ("timeout", "run")
    assert result.output == "before"


NEIGHBOURS = {
    "python": ("from part import value\nprint(value)", "part.py", "value = 42"),
    "javascript": ("console.log(require('./part.js').value)", "part.js", "exports.value = 42"),
    "typescript": (
        "import { value } from './part.ts';\nconsole.log(value)",
        "part.ts",
        "export const value: number = 42",
    ),
    "bash": ("source ./part.sh\necho $value", "part.sh", "value=42"),
    "go": (go("fmt.Println(value)", "fmt"), "part.go", "package main\n\nconst value = 42\n"),
}


async def test_a_file_beside_the_program_is_part_of_it(engine, language):
    program, path, content = NEIGHBOURS[language]

    result = await engine.execute(program, language=language, files=[InputFile(path, content.encode())])

    assert (result.status, result.output, result.error) == ("success", "42\n", "")


EMPTY = {"python": True, "javascript": True, "typescript": True, "bash": True, "go": False}


async def test_an_empty_program_is_what_its_language_says(engine, language):
    result = await engine.execute("", language=language)

    assert result.ok is EMPTY[language]
    assert result.output == ""


LARGE = {
    "python": ("# {}\n", "print('end')"),
    "javascript": ("// {}\n", "console.log('end')"),
    "typescript": ("// {}\n", "console.log('end' as string)"),
    "bash": ("# {}\n", "echo end"),
    "go": ("// {}\n", go('fmt.Println("end")', "fmt")),
}


async def test_a_large_program_runs(engine, language):
    comment, program = LARGE[language]
    lines = comment.format("x" * 58) * (2048 * KIB // 60)

    result = await engine.execute(lines + program, language=language)

    assert (result.status, result.output, result.error) == ("success", "end\n", "")
