"""The programs under `examples/`, which read a file and their input, compute, and write a file, run everywhere."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from xagent_core import Engine, InputFile, PoolConfig, get_backend

EXAMPLES = Path(__file__).parents[1] / "examples"
PROGRAMS = sorted(EXAMPLES.glob("totals.*"))


@pytest.fixture(
    params=[
        pytest.param(("docker", {}), id="docker", marks=pytest.mark.engine("docker")),
        pytest.param(("bubblewrap", {}), id="bubblewrap", marks=pytest.mark.engine("bubblewrap")),
        pytest.param(
            ("bubblewrap", {"cgroups": False}),
            id="bubblewrap-without-control-groups",
            marks=pytest.mark.engine("bubblewrap"),
        ),
    ]
)
async def engine(request):
    name, options = request.param
    async with Engine(get_backend(name, **options), pool=PoolConfig(ready=0)) as engine:
        yield engine


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
