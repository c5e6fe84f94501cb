"""Tools by name, made for one engine and one workspace."""

from __future__ import annotations

import pytest

from xagent_core import (
    DuplicatePluginError,
    Engine,
    InvalidRequestError,
    Settings,
    ToolContext,
    ToolRegistration,
    UnknownPluginError,
    Workspace,
    get_tools,
)
from xagent_core.plugins import Plugins
from xagent_core.testing.fakes import FakeBackend


@pytest.fixture
def engine() -> Engine:
    plugins = Plugins()
    for name, owner in (("write", "one"), ("run", "one"), ("twice", "one"), ("twice", "two")):
        plugins.tools.add(
            ToolRegistration(name=name, summary="", factory=lambda context, name=name: (name, context)), owner
        )
    plugins.tools.add(
        ToolRegistration(name="read", summary="", factory=lambda context: ("read", context), needs_workspace=True),
        "one",
    )
    return Engine(FakeBackend(), plugins=plugins, settings=Settings())


def test_all_tools_come_by_name_and_share_the_engine_and_the_workspace(engine, tmp_path):
    workspace = Workspace(tmp_path)
    tools = get_tools(engine, workspace=workspace)
    assert tools == [(name, ToolContext(engine=engine, workspace=workspace)) for name in ("read", "run", "write")]


def test_a_workspace_may_be_named_by_its_folder_which_is_made(engine, tmp_path):
    (_, first), (_, second) = get_tools(engine, workspace=tmp_path / "new", names=["run", "write"])
    assert first.workspace is second.workspace
    assert first.workspace.path == tmp_path / "new"
    assert first.workspace.path.is_dir()


def test_tools_that_need_a_workspace_are_left_out_where_there_is_none(engine):
    assert [name for name, _ in get_tools(engine)] == ["run", "write"]
    with pytest.raises(InvalidRequestError, match="tool read: it works on a workspace, and there is none"):
        get_tools(engine, names=["run", "read"])


def test_a_tool_gets_the_options_of_its_table_and_shares_with_its_siblings():
    plugins = Plugins()
    for name, table in (("fetch", "web"), ("scrape", "web"), ("search", "")):
        plugins.tools.add(ToolRegistration(name=name, summary="", table=table, factory=lambda context: context), "one")
    settings = Settings(tools={"web": {"timeout": 3}, "search": {"url": "http://one"}})
    fetch, scrape, search = get_tools(Engine(FakeBackend(), plugins=plugins, settings=settings))
    assert [context.options for context in (fetch, scrape, search)] == [
        {"timeout": 3},
        {"timeout": 3},
        {"url": "http://one"},
    ]
    assert fetch.shared is scrape.shared is search.shared


def test_some_tools_come_in_the_order_in_which_they_are_named(engine):
    assert [name for name, _ in get_tools(engine, names=["write", "run"])] == ["write", "run"]
    assert get_tools(engine, names=[]) == []
    assert get_tools(engine)[0][1].workspace is None


def test_a_tool_that_is_not_there_or_there_twice(engine):
    with pytest.raises(UnknownPluginError, match="Did you mean write"):
        get_tools(engine, names=["wirte"])
    with pytest.raises(DuplicatePluginError, match="provided by one and by two"):
        get_tools(engine, names=["twice"])
