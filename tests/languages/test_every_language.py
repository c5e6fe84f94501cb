"""What holds for programs of every language, beyond the suite that each language's own tests run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from xagent_core import InputFile, load_plugins

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


async def test_the_project_s_own_leave_nothing_out_that_their_suite_would_skip():
    for name in ENDINGS:
        language = load_plugins().languages[name]
        assert all((language.summary, language.hello, language.samples)), name


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
