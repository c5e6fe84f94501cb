"""What docs/tools-web.md says is true: its settings can be used, its table is complete, and its program runs."""

from __future__ import annotations

import contextlib
import io
import re
import tomllib
from pathlib import Path

import pytest
from xagent_tools_web.settings import WebSettings

from xagent_core import Engine, Settings, get_tools
from xagent_core.testing.fakes import FakeBackend

DOCUMENT = Path(__file__).parents[4] / "docs/tools-web.md"
TEXT = DOCUMENT.read_text("utf-8")


def blocks(language):
    return re.findall(rf"(?ms)^```{language}\n(.*?)^```$", TEXT)


@pytest.mark.parametrize("block", blocks("toml"))
def test_its_settings_can_be_used(block):
    tables = tomllib.loads(block)["tools"]
    engine = Engine(FakeBackend(), settings=Settings(tools=tables))
    names = ["web_search"] if "web_search" in tables else ["fetch_url", "http_request", "scrape_page"]
    assert [tool.name for tool in get_tools(engine, names=names)] == names


def test_its_table_has_every_setting_and_its_default():
    rows = {name: row for row in re.findall(r"^\| `.+$", TEXT, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)}
    for name, field in WebSettings.model_fields.items():
        default = field.default
        shown = {True: "true", False: "false"}.get(default, default) if isinstance(default, bool) else default
        shown = {5 * 1024**2: "5m", 32 * 1024: "32k", 32 * 1024**2: "32m"}.get(shown, shown)
        shown = "none" if shown in ((), None) else shown
        words = sorted(map(str, shown)) if isinstance(shown, (tuple, frozenset)) else [f"{shown}".removesuffix(".0")]
        assert all(word in rows[name] for word in words), name


def test_its_program_runs():
    (program,) = blocks("python")
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(compile(program, DOCUMENT.name, "exec"), {"__name__": "__main__"})
    assert said.getvalue().startswith("error GET http://169.254.169.254/latest/meta-data/: refused: ")
