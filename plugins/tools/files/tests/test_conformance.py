"""The suite of agent tools, over the tools for files."""

from __future__ import annotations

import pytest

from xagent_core.testing import ToolConformance


class TestReadFile(ToolConformance):
    @pytest.fixture(scope="class")
    @classmethod
    def tool(cls):
        return "read_file"

    @pytest.fixture(scope="class")
    @classmethod
    def call(cls):
        return {"path": "file.txt", "max_lines": 1}

    @pytest.fixture(scope="class")
    @classmethod
    def failing_call(cls):
        return {"path": "../file.txt"}


class TestWriteFile(ToolConformance):
    @pytest.fixture(scope="class")
    @classmethod
    def tool(cls):
        return "write_file"

    @pytest.fixture(scope="class")
    @classmethod
    def call(cls):
        return {"path": "new/file.txt", "content": "text"}

    @pytest.fixture(scope="class")
    @classmethod
    def failing_call(cls):
        return {"path": "/file.txt", "content": ""}


class TestListFiles(ToolConformance):
    @pytest.fixture(scope="class")
    @classmethod
    def tool(cls):
        return "list_files"

    @pytest.fixture(scope="class")
    @classmethod
    def call(cls):
        return {"pattern": "*.txt"}

    @pytest.fixture(scope="class")
    @classmethod
    def failing_call(cls):
        return {"path": "nowhere"}


class TestEditFile(ToolConformance):
    @pytest.fixture(scope="class")
    @classmethod
    def tool(cls):
        return "edit_file"

    @pytest.fixture(scope="class")
    @classmethod
    def call(cls):
        return {"path": "file.txt", "old_text": "first", "new_text": "first first", "replace_all": True}

    @pytest.fixture(scope="class")
    @classmethod
    def failing_call(cls):
        return {"path": "file.txt", "old_text": "third", "new_text": ""}
