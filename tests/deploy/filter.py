"""A stand-in for the socket proxy of deploy/compose.yaml, whose image is not at hand: it holds the same allow-list.

Go's and Python's regular expressions agree on what the list uses; as there, each pattern is anchored at both ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

ALLOW: Final = re.compile(r"-allow([A-Z]+)=(.+)")


class AllowList:
    """What `-allowMETHOD=PATTERN` arguments let through."""

    def __init__(self, arguments: list[str]) -> None:
        found = [match.groups() for argument in arguments if (match := ALLOW.fullmatch(argument))]
        self.patterns = [(method, re.compile(pattern)) for method, pattern in found]
        self.used: set[str] = set()
        self.blocked: list[str] = []

    def lets_through(self, method: str, target: str) -> bool:
        path = urlsplit(target).path
        for allowed, pattern in self.patterns:
            if allowed == method and pattern.fullmatch(path):
                self.used.add(pattern.pattern)
                return True
        self.blocked.append(f"{method} {path}")
        return False


@contextlib.asynccontextmanager
async def filtering(allowed: AllowList, listen: Path, engine: str) -> AsyncIterator[None]:
    """Listens on one socket and passes what is allowed on to another, one request for each connection."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.current_task())
        try:
            await pass_on(reader, writer, allowed, engine)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            tasks.discard(asyncio.current_task())
            writer.close()

    server = await asyncio.start_unix_server(serve, listen)
    try:
        yield
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, allowed: AllowList, engine: str) -> None:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    method, target, _ = head.split(" ", 2)
    if not allowed.lets_through(method, target):
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        return
    if "upgrade:" not in head.lower():
        head = re.sub(r"(?i)\r\nconnection: [^\r]*", "", head).replace("\r\n", "\r\nConnection: close\r\n", 1)
    from_engine, to_engine = await asyncio.open_unix_connection(engine)
    try:
        to_engine.write(head.encode("latin-1"))
        sending = asyncio.create_task(copy(reader, to_engine))
        await copy(from_engine, writer)
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
    finally:
        to_engine.close()


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    with contextlib.suppress(OSError):
        writer.write_eof()
