"""Gives the agent's tools that plugins provide, by name."""

from __future__ import annotations

from collections.abc import Iterable, MutableMapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xagent_core.abc.tool import ToolContext, ToolRegistration
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
        names: Only these, in this order; by default all that are installed, by name. Their options come from the
            engine's settings.

    Returns:
        LangChain tools, ready for an agent.

    Raises:
        UnknownPluginError: No installed plugin provides a tool of that name.
        DuplicatePluginError: Two provide it.
        ConfigError: A tool's option cannot be used.
    """
    catalogue = engine.plugins.tools
    wanted = [tool.name for tool in catalogue] if names is None else list(names)
    folder = None if workspace is None else Path(workspace)
    shared: MutableMapping[Any, Any] = {}

    def made(tool: ToolRegistration) -> BaseTool:
        options = engine.settings.tools.get(tool.table or tool.name, {})
        return tool.factory(ToolContext(engine=engine, workspace=folder, options=options, shared=shared))

    return [made(catalogue[name]) for name in wanted]
