"""`xagent run` of one real program in each language, on each engine: what the README's demo shows.

Each parses a CSV file that it is given, reads its input, computes, prints, and writes a file that is collected.
"""

from __future__ import annotations

import json
from pathlib import Path

import platformdirs
import pytest

from tests.backends import EACH_BACKEND

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize("program", ["totals.py", "totals.js", "totals.ts", "totals.sh", "totals.go"])
@pytest.mark.parametrize("engine", EACH_BACKEND)
def test_a_real_program(xagent, engine, program):
    # The user's cache, so that the first test, and not this one each time, has Go's standard library compiled.
    xagent.env |= {"XAGENT_DISABLED_PLUGINS": "xagent-fake", "XDG_CACHE_HOME": str(platformdirs.user_cache_path())}
    done = xagent(
        "run", str(EXAMPLES / program), "--backend", engine, "--file", str(EXAMPLES / "sales.csv"),
        "--collect", "*.json", "--output-dir", "results", "--json", stdin=b"north south",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["status"], result["backend"], result["error"]) == ("success", engine, "")
    totals = json.loads((xagent.home / "results/totals.json").read_text())
    # 120 * 1.25 + 45 * 2.05 + 75 * 1.00, and 80 * 2.10 + 150 * 0.95
    assert totals == {"north": 317.25, "south": 310.5}
    assert result["output"].split() == ["north", "317.25", "south", "310.50"]
