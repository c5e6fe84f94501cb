"""Tells a client how a call goes on: output as it comes, and that the call is alive."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator
from typing import Any, Final
from uuid import UUID

from langchain_core.callbacks import AsyncCallbackHandler
from mcp import types
from mcp.server.session import ServerSession

__all__ = ["Progress"]

# Output is collected for so long: a program that prints much must not make a message of each piece.
_TOGETHER_SECONDS: Final = 0.1
# Clients that wait for progress, and not for a fixed time, learn so often that there is some.
_ALIVE_SECONDS: Final = 5.0


class Progress(AsyncCallbackHandler):
    """Passes a tool's custom events on: as progress where the client asked for that, and to its log if it wants one.

    Args:
        session: The client.
        request: The call's id, which ties the messages to it.
        token: What the client calls its progress; None where it did not ask for any.
        logs: Whether the client wants what programs write in its log.
        tool: The tool's name.
    """

    def __init__(
        self,
        session: ServerSession,
        request: types.RequestId,
        token: types.ProgressToken | None,
        *,
        logs: bool,
        tool: str,
    ) -> None:
        self._session = session
        self._request = request
        self._token = token
        self._logs = logs
        self._tool = tool
        self._pieces: list[tuple[str, str]] = []
        self._came = asyncio.Event()
        self._began = self._told = asyncio.get_running_loop().time()

    async def on_custom_event(self, name: str, data: Any, *, run_id: UUID, **_more: Any) -> None:  # noqa: ARG002
        """Takes an event: text, or text as `data` with its `stream`, as the tools that run code send it."""
        if isinstance(data, dict) and isinstance(data.get("data"), str):
            self._add(str(data.get("stream") or name), data["data"])
        else:
            self._add(name, data if isinstance(data, str) else json.dumps(data, default=str))

    def _add(self, source: str, text: str) -> None:
        if self._pieces and self._pieces[-1][0] == source:
            self._pieces[-1] = (source, self._pieces[-1][1] + text)
        else:
            self._pieces.append((source, text))
        self._came.set()

    @contextlib.asynccontextmanager
    async def telling(self) -> AsyncGenerator[None]:
        """Tells while the block runs; all that came is told when it ends, unless it is cancelled."""
        if self._token is None and not self._logs:
            yield
            return
        teller = asyncio.create_task(self._tell())
        try:
            yield
        finally:
            teller.cancel()
            await asyncio.wait([teller])
        await self._flush()

    async def _tell(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._came.wait(), _ALIVE_SECONDS)
                await asyncio.sleep(_TOGETHER_SECONDS)
            self._came.clear()
            if self._pieces:
                await self._flush()
            else:
                await self._progress(None)

    async def _flush(self) -> None:
        while self._pieces:
            source, text = self._pieces.pop(0)
            if self._logs:
                await self._session.send_log_message("info", text, f"{self._tool}.{source}", self._request)
            await self._progress(text)

    async def _progress(self, text: str | None) -> None:
        if self._token is not None:
            # The protocol wants it to grow each time; how much there is to come, nobody knows.
            now = asyncio.get_running_loop().time()
            self._told = max(now, self._told + 1e-6)
            seconds = self._told - self._began
            await self._session.send_progress_notification(
                self._token, seconds, message=text, related_request_id=str(self._request)
            )
