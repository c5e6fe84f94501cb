"""The tools of one worker."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from xagent_core.abc.queue import ToolResult
from xagent_core.bridge import in_thread
from xagent_core.engine import Engine
from xagent_core.toolbox import get_tools
from xagent_core.types import OutputEvent
from xagent_core.workspace import Workspace

__all__ = ["Tool", "WorkerTools"]

Tool = Callable[[Mapping[str, Any], Callable[[OutputEvent], Awaitable[None]]], Awaitable[ToolResult]]
"""Takes a tool's arguments, and what is told of output as it comes."""


class WorkerTools:
    """Makes each tool for its first call. They share what the tools of an agent share, such as thoughts.

    Args:
        engine: What runs programs for them.
        workspace: The folder of those that need one; without it, they are refused.

    Raises:
        InvalidRequestError: The folder cannot be used.
    """

    def __init__(self, engine: Engine, workspace: str | Path | Workspace | None) -> None:
        self._engine = engine
        self._workspace = Workspace(workspace) if isinstance(workspace, str | Path) else workspace
        self._made: dict[str, Tool] = {}
        self._shared: dict[Any, Any] = {}
        self._making = asyncio.Lock()

    async def find(self, name: str) -> Tool:
        """What calls a tool.

        Raises:
            XAgentError: There is no such tool, or it cannot be made.
        """
        async with self._making:
            if name not in self._made:
                self._made[name] = await in_thread(self._make, name)
        return self._made[name]

    def _make(self, name: str) -> Tool:
        (tool,) = get_tools(self._engine, workspace=self._workspace, names=[name], shared=self._shared)
        from xagent_core.queueing.tools import invoke  # langchain-core takes a second, and many workers never need it

        return functools.partial(invoke, tool)
