"""Holds callers of an HTTP server to limits of size, number, rate and time, and ends what nobody waits for any more."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from xagent_core.http.guard import ASGIApp, Message, Receive, Scope, Send, header, refuse
from xagent_core.types import MIB

__all__ = ["Limited", "RequestLimits"]

_CALLERS: Final = 10_000  # addresses that a rate is remembered for
_SAFE: Final = frozenset({"GET", "HEAD"})


@dataclass(frozen=True, kw_only=True, slots=True)
class RequestLimits:
    """What one server takes.

    Attributes:
        body: Bytes of a request's body.
        body_seconds: For the body to arrive.
        concurrent: Requests that run at once; GET and HEAD run nothing, and do not count.
        per_minute: Requests of one address; a tenth of it may come at once.
        seconds: For a request, its answer included; GET and HEAD may stay open.
    """

    body: int = 4 * MIB
    body_seconds: float = 30.0
    concurrent: int = 64
    per_minute: float = 1200.0
    seconds: float = 900.0


class Limited:
    """The ASGI application around one that is to be limited.

    Args:
        app: What is limited.
        limits: What it takes.
        exempt: Paths that are never refused: those by which others see whether the server is alive.
        cancels: Whether a request ends when its caller has gone. Where a protocol has its own way to cancel, it
            does not.
    """

    def __init__(
        self, app: ASGIApp, limits: RequestLimits, *, exempt: Iterable[str] = (), cancels: bool = True
    ) -> None:
        self._app = app
        self._limits = limits
        self._exempt = frozenset(exempt)
        self._cancels = cancels
        self._running = 0
        self._callers: OrderedDict[str, tuple[float, float]] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuses the request, or runs it within the limits."""
        if scope["type"] != "http" or scope["path"] in self._exempt:
            await self._app(scope, receive, send)
            return
        if wait := self._wait(str((scope.get("client") or ("",))[0])):
            await refuse(send, 429, "too many requests", "Call less often.", retry_after=f"{wait:.0f}")
            return
        body = await self._body(scope, receive, send)
        if body is None:
            return
        request = _Request(body, receive)
        if scope["method"] in _SAFE:
            try:
                await self._app(scope, request, send)
            finally:
                request.close()
            return
        if self._running >= self._limits.concurrent:
            await refuse(send, 503, "the server is busy with other requests", "Try again.", retry_after="1")
            return
        await self._run(scope, request, send)

    def _wait(self, caller: str) -> float:
        """Seconds until the caller may come again; 0 where it may now. A token bucket for each address."""
        now, rate = time.monotonic(), self._limits.per_minute / 60
        most = max(self._limits.per_minute / 10, 1)
        level, seen = self._callers.pop(caller, (most, now))
        level = min(level + (now - seen) * rate, most)
        self._callers[caller] = (max(level - 1, 0) if level >= 1 else level, now)
        if len(self._callers) > _CALLERS:
            self._callers.popitem(last=False)
        return 0 if level >= 1 else max((1 - level) / rate, 1)

    async def _body(self, scope: Scope, receive: Receive, send: Send) -> bytes | None:
        """The whole body; None when the request was refused, or its caller has gone."""
        most, body = self._limits.body, bytearray()
        announced = header(scope, b"content-length") or "0"
        too_large = not (announced.isdecimal() and len(announced) < 20 and int(announced) <= most)
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                while not too_large:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return None
                    body += message.get("body", b"")
                    too_large = len(body) > most
                    if not message.get("more_body", False):
                        break
        except TimeoutError:
            cause = f"the body did not arrive within {self._limits.body_seconds:g} s"
            await refuse(send, 408, cause, connection="close")
            return None
        if too_large:
            await refuse(send, 413, f"the body is larger than {most} bytes", connection="close")
            return None
        return bytes(body)

    def _ended(self, _work: asyncio.Future[None]) -> None:
        self._running -= 1

    async def _run(self, scope: Scope, request: _Request, send: Send) -> None:
        started = False

        async def watched_send(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        self._running += 1
        work = asyncio.ensure_future(self._app(scope, request, watched_send))
        work.add_done_callback(self._ended)  # not later: the caller has its answer, and may be there again
        gone = asyncio.ensure_future(request.left())
        ends = [work, gone] if self._cancels else [work]
        ending = False
        try:
            await asyncio.wait(ends, timeout=self._limits.seconds, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            # The server ends. This is its task's outermost call, and its caller is still owed an answer.
            ending = True
        finally:
            in_time = any(task.done() for task in ends)
            # What the request has started ends before its place is free.
            work.cancel()
            await asyncio.wait([work])
            gone.cancel()
            request.close()
        if ending and not started:
            await refuse(send, 503, "the server has ended", connection="close")
        elif not in_time and not started:
            await refuse(send, 504, f"the request took longer than {self._limits.seconds:g} s")
        with contextlib.suppress(asyncio.CancelledError):
            work.result()


class _Request:
    """A `receive` that gives the body, which was read already, and then says when the caller has gone."""

    def __init__(self, body: bytes, receive: Receive) -> None:
        self._body: bytes | None = body
        self._receive = receive
        self._left: asyncio.Future[None] | None = None

    async def __call__(self) -> Message:
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self.left()
        return {"type": "http.disconnect"}

    async def left(self) -> None:
        """Waits until the caller has gone. Only one task reads from the server at a time, however many wait."""
        if self._left is None:
            self._left = asyncio.ensure_future(self._read())
        await asyncio.shield(self._left)

    def close(self) -> None:
        """Nobody waits any more."""
        if self._left is not None:
            self._left.cancel()

    async def _read(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
