"""What `list_files` shows, and what every tool for files says of a way out of the workspace."""

from __future__ import annotations

import os

import pytest

from xagent_core import InvalidRequestError, ToolContext
from xagent_core.plugins import load_plugins


@pytest.fixture
def filled(workspace):
    for path in ("a.py", "b.txt", "src/c.py", "src/deep/d.py", ".git/config", "src/.hidden"):
        workspace.write(path, b"12345")
    return workspace


def paths(answer):
    return [entry["path"] for entry in answer["entries"]]


def test_everything_but_what_is_hidden_is_listed(tools, filled):
    answer = tools.list_files.invoke({})
    assert answer == {
        "status": "success",
        "path": ".",
        "entries": [
            {"path": "a.py", "type": "file", "size": 5},
            {"path": "b.txt", "type": "file", "size": 5},
            {"path": "src", "type": "folder"},
            {"path": "src/c.py", "type": "file", "size": 5},
            {"path": "src/deep", "type": "folder"},
            {"path": "src/deep/d.py", "type": "file", "size": 5},
        ],
        "truncated": False,
    }
    assert ".git/config" in paths(tools.list_files.invoke({"include_hidden": True}))
    assert paths(tools.list_files.invoke({"recursive": False})) == ["a.py", "b.txt", "src"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"pattern": "*.py"}, ["a.py", "src/c.py", "src/deep/d.py"]),
        ({"pattern": "src/*.py"}, ["src/c.py"]),
        ({"pattern": "src/**/*.py"}, ["src/c.py", "src/deep/d.py"]),
        ({"path": "src", "pattern": "*.py"}, ["src/c.py", "src/deep/d.py"]),
        ({"path": "./src/", "pattern": "deep/*"}, ["src/deep/d.py"]),
        ({"path": "src/deep"}, ["src/deep/d.py"]),
        ({"path": ".git", "pattern": "./config"}, [".git/config"]),
        ({"path": ".git/", "pattern": "config"}, [".git/config"]),
        ({"path": "./", "pattern": "./*.txt"}, ["b.txt"]),
        ({"path": "src//deep/.", "pattern": "d.*"}, ["src/deep/d.py"]),
        ({"pattern": "./*.py"}, ["a.py"]),
        ({"pattern": "/src//*.py"}, ["src/c.py"]),
        ({"pattern": "src/"}, ["src"]),
        ({"pattern": "./"}, ["a.py", "b.txt", "src"]),
        ({"pattern": "*.rs"}, []),
    ],
)
def test_a_pattern_picks_some(tools, filled, arguments, expected):
    assert paths(tools.list_files.invoke(arguments)) == expected


def test_a_pattern_that_leads_out_of_the_folder_is_refused(tools, filled, error_of):
    assert "leads out of the folder" in error_of(tools.list_files, path="src", pattern="../*.py")


async def test_a_long_list_is_cut_and_says_so(tools, filled):
    answer = await tools.list_files.ainvoke({"max_entries": 2})
    assert (paths(answer), answer["truncated"]) == (["a.py", "b.txt"], True)


def test_names_that_are_not_utf_8_or_have_line_ends_can_be_shown(tools, workspace):
    (workspace.path / "two\nlines").touch()
    (workspace.path / os.fsdecode(b"\xff.txt")).touch()
    assert paths(tools.list_files.invoke({})) == ["two\nlines", "\\xff.txt"]
    message = tools.list_files.invoke({"type": "tool_call", "id": "1", "name": "list_files", "args": {}})
    assert r'"two\nlines"' in message.content
    message.content.encode()


def test_a_folder_that_is_not_there(tools, workspace, error_of):
    workspace.write("file", b"")
    assert "there is no such file or folder" in error_of(tools.list_files, path="nowhere")
    assert "no folder" in error_of(tools.list_files, path="file")


OTHERS = {"read_file": {}, "write_file": {"content": "x"}, "edit_file": {"old_text": "root", "new_text": "x"}}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("path", ["../passwd", "/etc/passwd", "link/passwd", "passwd", "pipe", "a\0b", "a\nb"])
@pytest.mark.parametrize("name", OTHERS)
def test_no_tool_leaves_the_workspace_or_waits_for_a_pipe(tools, workspace, error_of, name, path):
    (workspace.path / "link").symlink_to("/etc")
    (workspace.path / "passwd").symlink_to("/etc/passwd")
    os.mkfifo(workspace.path / "pipe")
    error = error_of(getattr(tools, name), path=path, **OTHERS[name])
    assert error.startswith(("workspace: ", "request: "))


def test_no_folder_outside_is_listed(tools, workspace, error_of):
    (workspace.path / "link").symlink_to("/etc")
    for path in ("..", "/etc", "link", "a/../.."):
        assert error_of(tools.list_files, path=path).startswith(("workspace: ", "request: "))


def test_a_tool_without_a_workspace_is_not_made():
    for name in ("read_file", "write_file", "list_files", "edit_file"):
        with pytest.raises(InvalidRequestError, match="there is no workspace"):
            load_plugins().tools[name].factory(ToolContext(engine=None))
