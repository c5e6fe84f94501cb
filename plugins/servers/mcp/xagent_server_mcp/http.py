"""Speaks MCP over streamable HTTP at `/mcp`, behind the guard that every HTTP door of xagent has."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator
from typing import Any, Final

import anyio
from mcp.server.lowlevel import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

from xagent_core.http.guard import ASGIApp, Guard, Message, Receive, Scope, Send, refuse
from xagent_core.http.limits import Limited, RequestLimits
from xagent_core.http.options import Entry
from xagent_core.http.server import serve

__all__ = ["PATH", "serve_http"]

PATH: Final = "/mcp"

_IDLE_SECONDS: Final = 1800.0
_SESSIONS: Final = 256


async def serve_http(
    server: Server[Any, Any], entry: Entry, *, limits: RequestLimits, grace: float, opened: Callable[[], None]
) -> None:
    """Serves clients until it is cancelled.

    Args:
        server: What they can call.
        entry: The door, and who may come in.
        limits: Of requests. One whose caller has gone runs on: MCP has its own way to cancel.
        grace: Seconds that calls have to end.
        opened: Called when requests are taken.
    """
    sessions = StreamableHTTPSessionManager(
        server, session_idle_timeout=_IDLE_SECONDS, max_sessions=_SESSIONS, max_request_body_size=limits.body
    )
    ends = asyncio.Event()
    guard = Guard(
        Limited(_routed(sessions, ends), limits, exempt=["/healthz"], cancels=False),
        token=entry.token,
        hosts=entry.hosts,
        public=["/healthz"],
    )
    with _quiet_when_clients_leave():
        async with sessions.run():
            await serve(guard, entry.door, grace=grace, opened=opened, closing=ends.set)


@contextlib.contextmanager
def _quiet_when_clients_leave() -> Iterator[None]:
    """Has the SDK not log, as an error with a traceback, that a client which listened has left."""
    log = logging.getLogger("mcp.server.streamable_http")

    def is_trouble(record: logging.LogRecord) -> bool:
        return not (record.exc_info and isinstance(record.exc_info[1], anyio.ClosedResourceError))

    log.addFilter(is_trouble)
    try:
        yield
    finally:
        log.removeFilter(is_trouble)


def _routed(sessions: StreamableHTTPSessionManager, ends: asyncio.Event) -> ASGIApp:
    """Sends MCP's requests to the sessions. A GET is a client that listens for as long as it lives: see `_listen`."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] in (PATH, f"{PATH}/"):
            if scope["method"] == "GET":
                await _listen(sessions, ends, scope, receive, send)
            else:
                await sessions.handle_request(scope, receive, send)
        elif scope["path"] == "/healthz":
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
            await send({"type": "http.response.body", "body": b"ok"})
        else:
            await refuse(send, 404, "there is nothing here", f"MCP is spoken at {PATH}.")

    return app


async def _listen(
    sessions: StreamableHTTPSessionManager, ends: asyncio.Event, scope: Scope, receive: Receive, send: Send
) -> None:
    """Lets a client listen until it leaves or `ends` is set, which may have been before it came."""
    begun = is_open = False

    async def watched_send(message: Message) -> None:
        nonlocal begun, is_open
        begun, is_open = True, message["type"] == "http.response.start" or message.get("more_body", False)
        await send(message)

    stream = asyncio.ensure_future(sessions.handle_request(scope, receive, watched_send))
    ending = asyncio.ensure_future(ends.wait())
    try:
        await asyncio.wait([stream, ending], return_when=asyncio.FIRST_COMPLETED)
        stream.cancel()
        await asyncio.wait([stream])
    finally:
        stream.cancel()
        ending.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        stream.result()
    if is_open:
        await send({"type": "http.response.body", "body": b""})
    elif not begun:
        await refuse(send, 503, "the server has ended", connection="close")
