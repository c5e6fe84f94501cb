"""The suite of agent tools, over the tools that run code and keep thoughts."""

from __future__ import annotations

from xagent_core.testing import ToolConformance, fixed


class TestExecuteCode(ToolConformance):
    tool = fixed("execute_code")
    call = fixed({"code": "print(6 * 7)", "language": "python"})
    failing_call = fixed({"code": "print(6 * 7)", "arguments": ["a\0b"]})


class TestThink(ToolConformance):
    tool = fixed("think")
    call = fixed({"thought": "It is a test."})
