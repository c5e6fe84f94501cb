"""Gives the agent's tools that plugins provide, by name."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterable, MutableMapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xagent_core.abc.backend import Backend
from xagent_core.abc.tool import ToolContext, ToolRegistration
from xagent_core.bridge import background_loop, wait_in
from xagent_core.engine import Engine
from xagent_core.errors import InvalidRequestError
from xagent_core.workspace import Workspace

if TYPE_CHECKING:
    from langchain_core.tools import BaseTool

__all__ = ["get_tools", "open_tools"]


def get_tools(
    engine: Engine,
    *,
    workspace: str | Path | Workspace | None = None,
    names: Iterable[str] | None = None,
    shared: MutableMapping[Any, Any] | None = None,
) -> list[BaseTool]:
    """The installed tools, first- and third-party alike.

    Args:
        engine: Runs the code that tools are given.
        workspace: The folder that file tools are confined to, and that programs find around them; it is made where
            it is missing. None: programs have no files but their own, and tools that need some are left out.
        names: Only these, in this order; by default all that are installed, by name. Their options come
            from the engine's settings.
        shared: Where they keep what they have in common, such as a cache: calls with the same one give tools that
            share it. By default a new one.

    Returns:
        LangChain tools, ready for an agent. They share the workspace.

    Raises:
        UnknownPluginError: No installed plugin provides a tool of that name.
        DuplicatePluginError: Two provide it.
        ConfigError: A tool's option cannot be used.
        InvalidRequestError: A tool that was named needs a workspace; or the folder cannot be used.
    """
    catalogue = engine.plugins.tools
    if workspace is not None and not isinstance(workspace, Workspace):
        workspace = Workspace(workspace)
    if names is None:
        wanted = [tool for tool in catalogue if workspace is not None or not tool.needs_workspace]
    else:
        wanted = [catalogue[name] for name in names]
    if workspace is None and (bare := [tool.name for tool in wanted if tool.needs_workspace]):
        raise InvalidRequestError(
            f"tool {bare[0]}",
            "it works on a workspace, and there is none",
            "Pass get_tools(..., workspace=FOLDER), or start the worker with --workspace FOLDER.",
        )
    shared = {} if shared is None else shared

    def made(tool: ToolRegistration) -> BaseTool:
        options = engine.settings.tools.get(tool.table or tool.name, {})
        return tool.factory(ToolContext(engine=engine, workspace=workspace, options=options, shared=shared))

    return [made(tool) for tool in wanted]


@contextlib.contextmanager
def open_tools(
    backend: str | Backend | None = None,
    *,
    workspace: str | Path | Workspace | None = None,
    names: Iterable[str] | None = None,
) -> Generator[list[BaseTool]]:
    """The tools for a synchronous program: their engine is open in a thread of its own until the block is left.

    Args:
        backend: As for `Engine`.
        workspace: As for `get_tools`.
        names: As for `get_tools`.

    Yields:
        LangChain tools, to be called by `invoke`.

    Raises:
        XAgentError: What `Engine` and `get_tools` raise.
    """
    with background_loop() as loop:
        engine = Engine(backend)
        wait_in(loop, engine.__aenter__())
        try:
            yield get_tools(engine, workspace=workspace, names=names)
        finally:
            wait_in(loop, engine.aclose())
