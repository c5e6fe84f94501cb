"""What the web tools have in common: asynchronous work in whatever event loop the caller has, or in none."""

from __future__ import annotations

import asyncio
import contextvars
from abc import abstractmethod
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from xagent_core.agent_tool import AgentTool, tool_errors

__all__ = ["WebTool"]


class WebTool(AgentTool):
    """A tool that waits for the network. It needs no engine: `ainvoke` and `invoke` work in any thread and loop."""

    @abstractmethod
    async def work(self, *args: Any, **arguments: Any) -> Any:
        """As `AgentTool.work`, without blocking."""

    async def _arun(self, *args: Any, **arguments: Any) -> Any:
        with tool_errors():
            return await self.work(**self._named(args, arguments))

    def _run(self, *args: Any, **arguments: Any) -> Any:
        with tool_errors():
            work = self.work(**self._named(args, arguments))
            try:
                asyncio.get_running_loop()
            except RuntimeError:
                return asyncio.run(work)
            # A loop runs in this thread, which waits here as its owner asked for: the work gets a loop of its own.
            with ThreadPoolExecutor(1, thread_name_prefix=self.name) as thread:
                return thread.submit(contextvars.copy_context().run, asyncio.run, work).result()
