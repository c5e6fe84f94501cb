"""The suite of agent tools, over the tools for files."""

from __future__ import annotations

from xagent_core.testing import ToolConformance, fixed


class TestReadFile(ToolConformance):
    tool = fixed("read_file")
    call = fixed({"path": "file.txt", "max_lines": 1})
    failing_call = fixed({"path": "../file.txt"})


class TestWriteFile(ToolConformance):
    tool = fixed("write_file")
    call = fixed({"path": "new/file.txt", "content": "text"})
    failing_call = fixed({"path": "/file.txt", "content": ""})


class TestListFiles(ToolConformance):
    tool = fixed("list_files")
    call = fixed({"pattern": "*.txt"})
    failing_call = fixed({"path": "nowhere"})


class TestEditFile(ToolConformance):
    tool = fixed("edit_file")
    call = fixed({"path": "file.txt", "old_text": "first", "new_text": "first first", "replace_all": True})
    failing_call = fixed({"path": "file.txt", "old_text": "third", "new_text": ""})
