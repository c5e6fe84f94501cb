"""Gives the agent's tools that plugins provide, by name."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from xagent_core.abc.tool import ToolContext
from xagent_core.engine import Engine

if TYPE_CHECKING:
    from langchain_core.tools import BaseTool

__all__ = ["get_tools"]


def get_tools(
    engine: Engine, *, workspace: str | Path | None = None, names: Iterable[str] | None = None
) -> list[BaseTool]:
    """The installed tools, first- and third-party alike.

    Args:
        engine: Runs the code that tools are given.
        workspace: The folder that file tools are confined to.
        names: Only these, in this order; by default all that are installed, by name.

    Returns:
        LangChain tools, ready for an agent.

    Raises:
        UnknownPluginError: No installed plugin provides a tool of that name.
        DuplicatePluginError: Two provide it.
    """
    catalogue = engine.plugins.tools
    wanted = [tool.name for tool in catalogue] if names is None else list(names)
    context = ToolContext(engine=engine, workspace=None if workspace is None else Path(workspace))
    return [catalogue[name].factory(context) for name in wanted]
