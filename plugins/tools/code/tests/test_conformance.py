"""What runs code keeps what the contract of a tool promises."""

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
        return {"code": "print(6 * 7)"}

    @pytest.fixture(scope="class")
    @classmethod
    def failing_call(cls):
        return {"code": "", "language": "cobol"}


class TestThink(ToolConformance):
    @pytest.fixture(scope="class")
    @classmethod
    def tool(cls):
        return "think"

    @pytest.fixture(scope="class")
    @classmethod
    def call(cls):
        return {"thought": "What follows from this?"}
