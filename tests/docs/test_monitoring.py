"""What docs/monitoring.md shows runs as it stands there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
BLOCKS = re.findall(r"(?ms)^```python\n(.*?)^```$", (DOCS / "monitoring.md").read_text("utf-8"))


@pytest.mark.engine("bubblewrap")
@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_its_programs_run(block, monkeypatch):
    monkeypatch.setenv("XAGENT_BACKEND", "bubblewrap")
    done = subprocess.run([sys.executable, "-c", block], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", ["monitoring.md", "runbook.md", "evaluations/task-queue.md"])
def test_its_links_lead_somewhere(page):
    file = DOCS / page
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", file.read_text("utf-8")):
        assert (file.parent / target).exists(), target
