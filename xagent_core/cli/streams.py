"""Passes a program's output on to this process's own stdout and stderr, as it comes and as bytes."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from typing import Final

from xagent_core.types import OutputEvent, StreamName

__all__ = ["OutputClosedError", "Relay"]

# POSIX: a pipe that polls as writable takes this many bytes without blocking (PIPE_BUF on Linux).
_PIECE: Final = 4096


class OutputClosedError(Exception):
    """Whoever read our output has closed it."""


class Relay:
    """Writes output events in the order in which they came, without blocking the event loop.

    What the reader is slow to take is kept; the execution's own output limit bounds it, and its time limit holds
    however slow the reader is.
    """

    def __init__(self) -> None:
        self._events: asyncio.Queue[OutputEvent | None] = asyncio.Queue()
        self._descriptors: Mapping[StreamName, int | None] = {
            "stdout": sys.stdout.fileno() if sys.stdout else None,
            "stderr": sys.stderr.fileno() if sys.stderr else None,
        }

    def put(self, event: OutputEvent) -> None:
        """Takes output to pass on."""
        self._events.put_nowait(event)

    def end(self) -> None:
        """Nothing more will come."""
        self._events.put_nowait(None)

    async def run(self) -> None:
        """Writes until all is written that came before `end`.

        Raises:
            OutputClosedError: The reader is gone.
        """
        while (event := await self._events.get()) is not None:
            descriptor = self._descriptors[event.stream]
            if descriptor is not None:
                try:
                    await _write(descriptor, event.raw)
                except BrokenPipeError as error:
                    raise OutputClosedError from error


async def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        await _writable(descriptor)
        view = view[os.write(descriptor, view[:_PIECE]) :]


async def _writable(descriptor: int) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    try:
        loop.add_writer(descriptor, ready.set)
    except PermissionError:
        return  # a regular file, or /dev/null: never blocks, and cannot be polled
    try:
        await ready.wait()
    finally:
        loop.remove_writer(descriptor)
