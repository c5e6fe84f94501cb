"""The suite of agent tools, over the tools that run code and keep thoughts."""

from __future__ import annotations

import pytest

from xagent_core.testing import ToolConformance


class TestExecuteCode(ToolConformance):
    @pytest.fixture(scope="class")
    @classmethod
    def tool(cls):
        return "execute_code"

    @pytest.fixture(scope="class")
    @classmethod
    def call(cls):
        return {"code": "print(6 * 7)", "language": "python"}

    @pytest.fixture(scope="class")
    @classmethod
    def failing_call(cls):
        return {"code": "print(6 * 7)", "arguments": ["a\0b"]}


class TestThink(ToolConformance):
    @pytest.fixture(scope="class")
    @classmethod
    def tool(cls):
        return "think"

    @pytest.fixture(scope="class")
    @classmethod
    def call(cls):
        return {"thought": "It is a test."}
