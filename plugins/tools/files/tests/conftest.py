"""The four tools as an agent gets them, over a workspace of their own."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from xagent_core import Engine, Settings, Workspace, get_tools
from xagent_core.testing.fakes import FakeBackend

NAMES = ("read_file", "write_file", "list_files", "edit_file")


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path / "work")


@pytest.fixture
def tools(workspace):
    found = get_tools(Engine(FakeBackend(), settings=Settings()), workspace=workspace, names=NAMES)
    return SimpleNamespace(**{tool.name: tool for tool in found})


@pytest.fixture
def error_of():
    """What a model reads when it calls a tool in a wrong way."""

    def call(tool, **arguments):
        message = tool.invoke({"type": "tool_call", "id": "call-1", "name": tool.name, "args": arguments})
        assert message.status == "error", message.content
        return message.content

    return call
