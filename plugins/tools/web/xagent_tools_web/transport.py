"""The way to the web: a cache, then the pace of each host, then connections to judged addresses only."""

from __future__ import annotations

import contextlib
import logging
import ssl
from collections.abc import AsyncGenerator, Generator
from contextvars import ContextVar
from typing import Final

import httpx
from hishel import CacheOptions
from hishel.httpx import AsyncCacheTransport
from ssrfguard import Policy, Resolver
from ssrfguard.httpx import AsyncSafeTransport

from xagent_tools_web.errors import WebError, host_of, shown
from xagent_tools_web.memory import MemoryStorage
from xagent_tools_web.pace import Pace

__all__ = ["Way", "open_way", "unlogged"]

_SHARED: Final = CacheOptions(shared=True, supported_methods=["GET", "HEAD"], allow_stale=False)
"""As a proxy's cache, which keeps no answer to a request with credentials unless the server says so."""

_unlogged: ContextVar[bool] = ContextVar("xagent_tools_web_unlogged", default=False)


class _Unlogged(logging.Filter):
    """httpcore's debug log has every header of a response, cookies included."""

    def filter(self, _record: logging.LogRecord) -> bool:
        return not _unlogged.get()


_FILTER: Final = _Unlogged()


@contextlib.contextmanager
def unlogged() -> Generator[None]:
    """Keeps what goes over the wire out of httpcore's debug log, for the requests made in this context."""
    logging.getLogger("httpcore.http11").addFilter(_FILTER)
    token = _unlogged.set(True)
    try:
        yield
    finally:
        _unlogged.reset(token)


class _Paced(httpx.AsyncBaseTransport):
    """Waits for the host's turn, and refuses headers that are too large."""

    def __init__(self, inner: httpx.AsyncBaseTransport, pace: Pace, most_header_bytes: int) -> None:
        self._inner = inner
        self._pace = pace
        self._most = most_header_bytes

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await self._pace.wait(host_of(request.url))
        response = await self._inner.handle_async_request(request)
        # A line is name, colon, space, value and the line's end.
        if sum(len(name) + len(value) + 4 for name, value in response.headers.raw) > self._most:
            await response.aclose()
            raise WebError(
                f"{request.method} {shown(request.url)}",
                f"the server sent more than {self._most} bytes of headers",
                "Try another address.",
            )
        return response

    async def aclose(self) -> None:
        await self._inner.aclose()


class Way:
    """Connections for one call.

    Attributes:
        cached: Answers from the cache where the standard allows, and keeps what it allows.
        direct: For requests with headers of the caller's own, which no answer is kept for.
    """

    def __init__(self, direct: httpx.AsyncBaseTransport, storage: MemoryStorage | None) -> None:
        self.direct = direct
        self.cached = direct if storage is None else AsyncCacheTransport(direct, storage=storage, rfc=_SHARED)


@contextlib.asynccontextmanager
async def open_way(
    policy: Policy,
    *,
    pace: Pace,
    storage: MemoryStorage | None,
    trust: ssl.SSLContext,
    most_header_bytes: int,
    resolver: Resolver | None,
) -> AsyncGenerator[Way, None]:
    """Opens the way for one call; its connections end with it.

    No proxy of the environment is used: a proxy would look names up itself, and reach what it likes.

    Args:
        policy: What may be reached.
        pace: How fast.
        storage: What the cache keeps; None for no cache.
        trust: Certificates.
        most_header_bytes: Of a response.
        resolver: Instead of `socket.getaddrinfo`.
    """
    limits = httpx.Limits(max_connections=8, max_keepalive_connections=4)
    safe = AsyncSafeTransport(policy=policy, resolver=resolver, verify=trust, trust_env=False, limits=limits)
    paced = _Paced(safe, pace, most_header_bytes)
    async with paced:
        yield Way(paced, storage)
