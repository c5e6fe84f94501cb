"""`xagent plugins check`: the suites over an installed plugin, for a reader and for a program."""

from __future__ import annotations

import json
import signal
import time

import pytest

TOOL = '''
from typing import Annotated

from langchain_core.tools import ToolException, tool
from pydantic import Field
from xagent_core import Language, ToolRegistration, hookimpl


def count(context):
    @tool
    def count(text: Annotated[str, Field(description="What is counted"{bound})]) -> str:
        """Counts the characters of a text."""
        return str(len(text))

    count.handle_tool_error, count.handle_validation_error = True, str
    return count


@hookimpl
def xagent_register_tools():
    return [ToolRegistration(name="count", summary="Counts characters", factory=count)]
'''


def install(xagent, *, bound: str) -> None:
    xagent.install("xagent-tools-count", "xagent_tools_count", TOOL.replace("{bound}", bound))


def test_a_plugin_that_keeps_its_contract_ends_with_0(xagent):
    install(xagent, bound=", max_length=100")
    done = xagent("plugins", "check", "count")
    assert done.returncode == 0, done.stderr
    said = done.stdout.decode()
    assert "tool count (xagent-tools-count)" in said
    assert "every argument is described and bounded" in said
    assert "skipped: a call works in both ways\n    not tried: the fixture `call` gives no arguments" in said
    assert "ToolConformance in the plugin's own tests gives them, by `call = fixed({...})`" in said
    assert "4 passed, 0 failed, 2 skipped" in said


@pytest.mark.parametrize("name", ["xagent-tools-count", "xagent_tools_count", "count"])
def test_one_that_does_not_ends_with_1_and_the_reason(xagent, name):
    install(xagent, bound="")
    done = xagent("plugins", "check", name, "--json")
    assert done.returncode == 1
    document = json.loads(done.stdout)
    assert (document["plugin"], document["ok"]) == (name, False)
    failed = [test for test in document["tests"] if test["result"] == "failed"]
    assert [(test["kind"], test["name"], test["test"]) for test in failed] == [
        ("tool", "count", "every argument is described and bounded")
    ]
    assert "argument text: a text has no maxLength" in failed[0]["reason"]


def test_a_backend_that_cannot_be_used_has_not_passed(xagent):
    done = xagent("plugins", "check", "asleep", "--json")
    assert done.returncode == 1
    assert "the daemon sleeps. Wake it." in json.loads(done.stdout)["tests"][0]["reason"]


def test_what_cannot_be_checked_is_named(xagent):
    xagent.install("xagent-broken", "xagent_broken", "import a_module_that_nobody_has")
    for name, reason in {
        "nonsense": "nothing of that name is installed. Installed: xagent-fake.",
        "xagent-broken": "a_module_that_nobody_has",
    }.items():
        done = xagent("plugins", "check", name)
        assert done.returncode == 125
        assert reason in done.stderr.decode()


def test_the_extra_is_named_where_it_is_missing(xagent):
    install(xagent, bound="")
    (xagent.site / "pytest_asyncio.py").write_text("raise ImportError('No module named pytest_asyncio')")
    done = xagent("plugins", "check", "count")
    assert done.returncode == 125
    assert "pip install 'xagent-core[testing]'" in done.stderr.decode()


def test_results_are_told_as_they_come(xagent):
    install(xagent, bound="")
    *begun, last = xagent("plugins", "check", "count", "--json").stderr.decode().splitlines()
    assert begun[0] == "xagent: running the suites of tool count"
    assert len(begun) == 6
    assert begun[2].startswith("xagent: failed: tool count: every argument is described and bounded (")
    assert last.startswith("xagent: skipped: tool count: ")


def test_a_backend_that_is_not_there_is_one_error(xagent):
    done = xagent("plugins", "check", "plain", "--backend", "zz")
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.startswith(b"xagent: backend zz: no installed plugin provides it")


STUCK = """
import asyncio
from pathlib import Path

from xagent_core import BackendRegistration, hookimpl
from xagent_core.testing.fakes import FakeBackend


class Stuck(FakeBackend):
    async def capabilities(self):
        Path("stuck").touch()
        await asyncio.sleep(3600)

    async def aclose(self):
        await super().aclose()
        Path("closed").touch()


@hookimpl
def xagent_register_backends():
    return [BackendRegistration(name="stuck", summary="", factory=lambda _options: Stuck())]
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_it_and_leaves_nothing(xagent, number, tmp_path):
    xagent.install("xagent-stuck", "xagent_stuck", STUCK)
    (temporary := tmp_path / "tmp").mkdir()
    xagent.env["TMPDIR"] = str(temporary)
    with xagent.start("plugins", "check", "plain", "--backend", "stuck") as process:
        try:
            until = time.monotonic() + 60
            while not (xagent.home / "stuck").exists() and process.poll() is None and time.monotonic() < until:
                time.sleep(0.05)
            assert [path.name[:13] for path in temporary.iterdir()] == ["xagent-check-"]
            process.send_signal(number)
            assert process.wait(60) == 128 + number, process.stderr.read()
        finally:
            process.kill()
    assert list(temporary.iterdir()) == []
    assert (xagent.home / "closed").exists()
