"""Speaks MCP on this process's own stdin and stdout, and keeps everything else away from them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final, TextIO, cast

import anyio
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server

__all__ = ["own_streams", "serve_stdio"]

logger = logging.getLogger(__name__)

_LONGEST_MESSAGE: Final = 64 * 1024 * 1024
_PIECE: Final = 65536


@contextlib.contextmanager
def own_streams() -> Iterator[tuple[int, TextIO]]:
    """Takes stdin, as a descriptor, and stdout for the protocol.

    Meanwhile what anybody prints, this process or its children, goes to stderr, and whoever reads gets nothing.
    """
    sys.stdout.flush()
    reading, writing, nothing = os.dup(0), os.dup(1), os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    os.close(nothing)
    try:
        # Whoever writes flushes too; at the end there may be nobody left to read.
        yield reading, os.fdopen(os.dup(writing), "w", encoding="utf-8", closefd=False)
    finally:
        sys.stdout.flush()
        os.dup2(reading, 0)
        os.dup2(writing, 1)


async def serve_stdio(server: Server[Any, Any], source: int, target: TextIO) -> None:
    """Serves one client, until it closes its end.

    Args:
        server: What it can call.
        source: Where its messages come from.
        target: Where ours go to.
    """
    # Of what the SDK takes for its input, it only iterates over the lines.
    lines = cast("anyio.AsyncFile[str]", _lines(source))
    try:
        async with stdio_server(lines, anyio.wrap_file(target)) as (messages, answers):
            await server.run(messages, answers, server.create_initialization_options())
    except* (anyio.ClosedResourceError, anyio.BrokenResourceError, BrokenPipeError) as gone:
        logger.info("the client has gone while it was being answered: %r", gone.exceptions)


async def _lines(source: int) -> AsyncIterator[str]:
    """The lines of a descriptor of any kind, up to the first that is too long.

    They are read by a thread of our own. One of the SDK's could not be stopped before the next line came, and kept the
    process from ending.
    """
    loop = asyncio.get_running_loop()
    pieces: asyncio.Queue[bytes] = asyncio.Queue(8)

    def read() -> None:
        # Where the loop has ended, nobody listens any more.
        with contextlib.suppress(RuntimeError, asyncio.CancelledError):
            while True:
                piece = os.read(source, _PIECE)
                asyncio.run_coroutine_threadsafe(pieces.put(piece), loop).result()
                if not piece:
                    return

    threading.Thread(target=read, daemon=True, name="stdin").start()
    rest = bytearray()
    while piece := await pieces.get():
        rest += piece
        if b"\n" in piece:
            *whole, last = rest.split(b"\n")
            rest = last
            for line in whole:
                yield line.decode("utf-8", "replace")
        if len(rest) > _LONGEST_MESSAGE:
            return
