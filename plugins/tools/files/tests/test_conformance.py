"""The tools for files keep what the contract of a tool promises."""

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
        return {"path": "file.txt"}

    @pytest.fixture(scope="class")
    @classmethod
    def failing_call(cls):
        return {"path": "no-such-file.txt"}


class TestWriteFile(ToolConformance):
    @pytest.fixture(scope="class")
    @classmethod
    def tool(cls):
        return "write_file"

    @pytest.fixture(scope="class")
    @classmethod
    def call(cls):
        return {"path": "new.txt", "content": "text"}

    @pytest.fixture(scope="class")
    @classmethod
    def failing_call(cls):
        return {"path": "../outside.txt", "content": "text"}


class TestListFiles(ToolConformance):
    @pytest.fixture(scope="class")
    @classmethod
    def tool(cls):
        return "list_files"

    @pytest.fixture(scope="class")
    @classmethod
    def call(cls):
        return {"path": "."}

    @pytest.fixture(scope="class")
    @classmethod
    def failing_call(cls):
        return {"path": "no-such-folder"}


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
        return {"path": "file.txt", "old_text": "third", "new_text": "3rd"}
