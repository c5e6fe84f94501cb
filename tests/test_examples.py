"""The programs under `examples/` run where no control group can be made, as for most ordinary users: see `nox -s demo`.

On the engines as they are, `tests/cli/test_examples.py` runs them.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from xagent_core import Engine, InputFile, PoolConfig, get_backend

EXAMPLES = Path(__file__).parents[1] / "examples"
PROGRAMS = sorted(EXAMPLES.glob("totals.*"))


@pytest.fixture
async def engine():
    async with Engine(get_backend("bubblewrap", cgroups=False), pool=PoolConfig(ready=0)) as engine:
        yield engine


@pytest.mark.engine("bubblewrap")
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.suffix)
async def test_it_adds_up_what_is_asked_for(engine, program):
    language = engine.plugins.language_for_file(program.name)
    result = await engine.execute(
        program.read_text("utf-8"),
        language=language.name,
        stdin="north south",
        files=[InputFile("sales.csv", (EXAMPLES / "sales.csv").read_bytes())],
        collect=["totals.json"],
        timeout=60,
    )
    assert (result.status, result.error) == ("success", "")
    assert result.output == "north       317.25\nsouth       310.50\n"
    assert [file.path for file in result.files] == ["totals.json"]
    assert json.loads(result.files[0].content) == {"north": 317.25, "south": 310.5}


def test_each_language_has_its_example():
    assert {program.suffix for program in PROGRAMS} == {".py", ".js", ".ts", ".sh", ".go"}
