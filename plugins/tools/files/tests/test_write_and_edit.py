"""Writing and editing: exactly what was asked for, or an error that says what to do."""

from __future__ import annotations

import asyncio

import pytest


def test_a_file_is_made_with_its_folders_and_then_replaced(tools, workspace):
    made = tools.write_file.invoke({"path": "src/pkg/a.py", "content": "x = '\u00e9'\n"})
    assert made == {"status": "success", "path": "src/pkg/a.py", "bytes_written": 9, "append": False}
    tools.write_file.invoke({"path": "src/pkg/a.py", "content": ""})
    assert workspace.read("src/pkg/a.py") == b""


async def test_text_is_appended(tools, workspace):
    for text in ("one\n", "two\r\n"):
        answer = await tools.write_file.ainvoke({"path": "log.txt", "content": text, "append": True})
        assert answer["append"] is True
    assert workspace.read("log.txt") == b"one\ntwo\r\n"


async def test_many_appends_at_once_are_all_there(tools, workspace):
    calls = ({"path": "log", "content": f"{number}\n", "append": True} for number in range(50))
    await asyncio.gather(*(tools.write_file.ainvoke(call) for call in calls))
    assert sorted(map(int, workspace.read("log").split())) == list(range(50))


def test_what_cannot_be_written_is_explained(tools, workspace, error_of):
    workspace.write("folder/file", b"")
    assert "it is a folder" in error_of(tools.write_file, path="folder", content="")
    assert "not inside the workspace. Use a relative path" in error_of(tools.write_file, path="/etc/x", content="")
    assert "not inside the workspace" in error_of(tools.write_file, path="../x", content="")
    assert "content: Input should be a valid string" in error_of(tools.write_file, path="x", content="\ud800")
    assert "content: Field required" in error_of(tools.write_file, path="x")
    workspace.largest_file = 10
    assert "would have 11 bytes, and 10 are allowed" in error_of(tools.write_file, path="x", content="x" * 11)


def test_an_append_that_is_refused_leaves_nothing(tools, workspace, error_of):
    workspace.largest_file = 10
    workspace.write("log", b"12345")
    for path, content in (("new/folder/log", "x" * 11), ("log", "x" * 6)):
        error = error_of(tools.write_file, path=path, content=content, append=True)
        assert "would have 11 bytes, and 10 are allowed" in error
    assert [path.name for path in workspace.path.iterdir()] == ["log"]
    assert workspace.read("log") == b"12345"


def test_a_text_that_occurs_once_is_replaced(tools, workspace):
    workspace.write("a.py", b"a = 1\nb = 2\nc = 3\n")
    answer = tools.edit_file.invoke({"path": "a.py", "old_text": "b = 2\nc", "new_text": "b = 20\nd"})
    assert answer == {"status": "success", "path": "a.py", "replacements": 1, "line": 2}
    assert workspace.read("a.py") == b"a = 1\nb = 20\nd = 3\n"


def test_a_text_that_occurs_more_often_must_be_told_apart(tools, workspace, error_of):
    workspace.write("a.txt", b"x\ny\nx x\n")
    error = error_of(tools.edit_file, path="a.txt", old_text="x", new_text="z")
    assert "3 times (lines 1, 3, 3). Nothing was changed: give more of the text around" in error
    assert workspace.read("a.txt") == b"x\ny\nx x\n"
    answer = tools.edit_file.invoke({"path": "a.txt", "old_text": "x", "new_text": "z", "replace_all": True})
    assert answer["replacements"] == 3
    assert workspace.read("a.txt") == b"z\ny\nz z\n"


def test_a_text_that_is_not_there(tools, workspace, error_of):
    workspace.write("a.py", b"def f():\n\treturn 1\n")
    error = error_of(tools.edit_file, path="a.py", old_text="def f():\n    return 1", new_text="")
    assert "with other white space (indentation, line ends): read the file" in error
    assert "Nothing was changed: read" in error_of(tools.edit_file, path="a.py", old_text="class", new_text="")
    assert "nothing would change" in error_of(tools.edit_file, path="a.py", old_text="def", new_text="def")
    assert "there is no such file" in error_of(tools.edit_file, path="b.py", old_text="a", new_text="b")
    assert "at least 1 character" in error_of(tools.edit_file, path="a.py", old_text="", new_text="b")


def test_line_ends_of_windows_stay(tools, workspace):
    workspace.write("a.txt", b"one\r\ntwo\r\nthree\r\n")
    tools.edit_file.invoke({"path": "a.txt", "old_text": "one\ntwo\n", "new_text": "1\n2\n"})
    assert workspace.read("a.txt") == b"1\r\n2\r\nthree\r\n"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be", "latin-1"])
def test_the_encoding_stays(tools, workspace, error_of, encoding):
    text = "caf\u00e9 cr\u00e8me et th\u00e9 \u00e0 la menthe, tr\u00e8s fra\u00eeche\n" * 5
    mark = "\ufeff" if encoding == "utf-16-be" else ""
    workspace.write("a.txt", (mark + text).encode(encoding))
    new = {"path": "a.txt", "old_text": "menthe", "new_text": "verveine", "replace_all": True}
    assert tools.edit_file.invoke(new)["replacements"] == 5
    assert workspace.read("a.txt") == (mark + text.replace("menthe", "verveine")).encode(encoding)
    if encoding == "latin-1":
        emoji = {"old_text": "verveine", "new_text": "\U0001f375", "replace_all": True}
        assert "which lacks it" in error_of(tools.edit_file, path="a.txt", **emoji)


def test_a_binary_file_is_not_edited(tools, workspace, error_of):
    workspace.write("a.bin", b"\0\1\2abc")
    assert "no text that can be edited" in error_of(tools.edit_file, path="a.bin", old_text="abc", new_text="d")
    assert workspace.read("a.bin") == b"\0\1\2abc"


async def test_edits_at_once_do_not_lose_each_other(tools, workspace):
    workspace.write("a.txt", "".join(f"<{number}>\n" for number in range(30)).encode())
    calls = ({"path": "a.txt", "old_text": f"<{number}>", "new_text": f"[{number}]"} for number in range(30))
    await asyncio.gather(*(tools.edit_file.ainvoke(call) for call in calls))
    assert workspace.read("a.txt").count(b"[") == 30
