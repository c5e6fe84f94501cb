"""The address of a container engine's service, and connections to it."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar
from urllib.parse import urlsplit

__all__ = ["Endpoint"]

_CHECK_SECONDS: Final = 8.0

P = TypeVar("P", bound=asyncio.BaseProtocol)


@dataclass(frozen=True, kw_only=True, slots=True)
class Endpoint:
    """Where a service listens.

    Attributes:
        url: `unix:///path`, `http://host:port` or `https://host:port`.
        source: Who named it, for errors: `DOCKER_HOST`, `context NAME`, ...
        context: TLS settings; None without TLS.
    """

    url: str
    source: str
    context: ssl.SSLContext | None = None

    def check(self) -> None:
        """Connects once, blocking. SDKs hide why they could not, and leave such sockets open.

        Raises:
            OSError: Nothing answers.
        """
        parts = urlsplit(self.url)
        if parts.scheme != "unix":
            socket.create_connection((parts.hostname or "", parts.port or 0), timeout=_CHECK_SECONDS).close()
            return
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(_CHECK_SECONDS)
            sock.connect(parts.path)

    async def connect(self, protocol: Callable[[], P]) -> P:
        """Opens a connection of its own, beside those that an SDK pools.

        Raises:
            OSError: Nothing answers.
        """
        loop = asyncio.get_running_loop()
        parts = urlsplit(self.url)
        if parts.scheme == "unix":
            return (await loop.create_unix_connection(protocol, parts.path))[1]
        return (await loop.create_connection(protocol, parts.hostname or "", parts.port or 0, ssl=self.context))[1]
