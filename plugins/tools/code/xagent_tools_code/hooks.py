"""Announces `execute_code` and `think`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xagent_core.abc.tool import ToolContext, ToolRegistration
from xagent_core.hookspecs import hookimpl

if TYPE_CHECKING:
    from langchain_core.tools import BaseTool


@hookimpl
def xagent_register_tools() -> list[ToolRegistration]:
    """What runs code, and what keeps thoughts."""
    return [
        ToolRegistration(name="execute_code", summary="Runs a program in a sandbox", factory=_execute_code),
        ToolRegistration(name="think", summary="Keeps a thought", factory=_think),
    ]


def _execute_code(context: ToolContext) -> BaseTool:
    from xagent_tools_code.execute import ExecuteCode

    return ExecuteCode.of(context)


def _think(_context: ToolContext) -> BaseTool:
    from xagent_tools_code.think import Think

    return Think()
