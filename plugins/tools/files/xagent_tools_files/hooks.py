"""Announces the four tools for files."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from xagent_core.abc.tool import ToolContext, ToolRegistration
from xagent_core.hookspecs import hookimpl

if TYPE_CHECKING:
    from langchain_core.tools import BaseTool


def _tool(name: str, context: ToolContext) -> BaseTool:
    from xagent_tools_files import tools

    return tools.TOOLS[name].of(context)


@hookimpl
def xagent_register_tools() -> list[ToolRegistration]:
    """Reading, writing, listing and editing files of the workspace."""
    summaries = {
        "read_file": "Reads lines of a text file",
        "write_file": "Writes a text file",
        "list_files": "Lists a folder",
        "edit_file": "Replaces a text in a file",
    }
    return [
        ToolRegistration(name=name, summary=summary, factory=partial(_tool, name), needs_workspace=True)
        for name, summary in summaries.items()
    ]
