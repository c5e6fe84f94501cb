"""`xagent plugins check`: the suites over an installed plugin, for a reader and for a program."""

from __future__ import annotations

import json

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
    assert "skipped: a call works in both ways\n    the fixture `call` gives no arguments" in said
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
