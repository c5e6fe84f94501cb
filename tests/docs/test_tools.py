"""What docs/tools.md shows runs as it stands there, and its table has every argument."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from xagent_core import Engine, Settings, get_tools
from xagent_core.testing.fakes import FakeBackend

FILE = Path(__file__).parents[2] / "docs/tools.md"
TEXT = FILE.read_text("utf-8")
BLOCKS = re.findall(r"(?ms)(?<!-->\n)^```python\n(.*?)^```$", TEXT)
ROWS = re.findall(r"^\| `(\w+)` \| `([\w-]+)` \| (.+?) \| .+ \|$", TEXT, re.MULTILINE)


@pytest.mark.engine("bubblewrap")
@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_its_programs_run(block, monkeypatch, tmp_path):
    monkeypatch.setenv("XAGENT_BACKEND", "bubblewrap")
    done = subprocess.run([sys.executable, "-c", block], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_its_links_lead_somewhere():
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", TEXT):
        assert (FILE.parent / target).exists(), target


@pytest.mark.parametrize(("name", "distribution", "takes"), ROWS, ids=lambda part: part.split(" ")[0])
def test_every_argument_is_there_with_its_default(name, distribution, takes, tmp_path):
    engine = Engine(FakeBackend(), settings=Settings())
    (tool,) = get_tools(engine, workspace=tmp_path, names=[name])
    assert engine.plugins.tools.distribution(name) == distribution
    documented = dict(word.strip("`").partition("=")[::2] for word in takes.split(", "))
    assert list(documented) == list(tool.args)
    for argument, default in documented.items():
        schema = tool.args[argument]
        if default:
            assert schema.get("default") == {"None": None, "True": True, "False": False}.get(
                default, default.strip('"') if '"' in default else float(default) if default.isdigit() else None
            )


def test_every_first_party_tool_without_the_web_is_there():
    assert len(ROWS) == 6
    assert len(BLOCKS) == 3
