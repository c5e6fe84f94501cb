"""A sandbox's three streams, as pipes that are read when somebody asks, and not before."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import deque
from typing import Final

from xagent_core.types import StreamName

__all__ = ["Pipes", "resolve", "until_readable"]

_PIECE: Final = 64 * 1024  # what a pipe holds


def resolve(ready: asyncio.Future[None]) -> None:
    """Ends a wait that may have ended already."""
    if not ready.done():
        ready.set_result(None)


async def until_readable(*descriptors: int) -> None:
    """Waits until one of the descriptors can be read, or its other end is closed."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    try:
        for descriptor in descriptors:
            loop.add_reader(descriptor, resolve, ready)
        await ready
    finally:
        for descriptor in descriptors:
            loop.remove_reader(descriptor)


class Pipes:
    """The engine's ends; what is not fetched stays in the kernel's bounded buffers, and holds the program back.

    Attributes:
        theirs: The sandbox's ends: stdin, stdout, stderr.
    """

    def __init__(self) -> None:
        self.theirs: list[int] = []
        self._stdin = -1
        self._outputs: dict[StreamName, int] = {}
        self._rest: deque[tuple[StreamName, bytes]] = deque()
        self._ended = False
        self._waiting = 0
        self._writable: asyncio.Future[None] | None = None
        try:
            inner, self._stdin = os.pipe2(os.O_CLOEXEC)
            self.theirs.append(inner)
            names: tuple[StreamName, ...] = ("stdout", "stderr")
            for name in names:
                self._outputs[name], inner = os.pipe2(os.O_CLOEXEC)
                self.theirs.append(inner)
            for descriptor in (self._stdin, *self._outputs.values()):
                os.set_blocking(descriptor, False)
        except BaseException:
            self.close()
            raise

    def close_theirs(self) -> None:
        """Closes the sandbox's ends, which it has by now."""
        while self.theirs:
            os.close(self.theirs.pop())

    def close_stdin(self) -> None:
        """Ends what the sandbox reads; who waits to write more gets an error."""
        if self._stdin < 0:
            return
        if self._writable is not None:
            asyncio.get_running_loop().remove_writer(self._stdin)
            resolve(self._writable)
        os.close(self._stdin)
        self._stdin = -1

    def close(self) -> None:
        """Closes all that is open."""
        self.close_theirs()
        self.close_stdin()
        while self._outputs:
            os.close(self._outputs.popitem()[1])

    def end(self) -> None:
        """Nobody inside is left: keeps the rest of the output (what two pipes hold at most), and closes everything."""
        self._ended = True
        if not self._waiting:
            self._take_rest()

    async def read(self) -> tuple[StreamName, bytes] | None:
        """The next piece of either stream; None when both have ended."""
        while not self._rest and self._outputs:
            for name in tuple(self._outputs):
                descriptor = self._outputs[name]
                try:
                    data = os.read(descriptor, _PIECE)
                except BlockingIOError:
                    continue
                # To the end of the line: a stream that never pauses must not hide the other one.
                del self._outputs[name]
                if data:
                    self._outputs[name] = descriptor
                    return name, data
                os.close(descriptor)
            if self._outputs:
                await self._until_readable()
        return self._rest.popleft() if self._rest else None

    async def write(self, data: bytes) -> None:
        """Writes to what the sandbox reads.

        Raises:
            BrokenPipeError: Nobody reads it any more.
        """
        rest = memoryview(data)
        while rest:
            if self._stdin < 0:
                raise BrokenPipeError
            try:
                rest = rest[os.write(self._stdin, rest) :]
            except BlockingIOError:
                await self._until_writable()

    def _take_rest(self) -> None:
        for name, descriptor in self._outputs.items():
            with contextlib.suppress(BlockingIOError):
                while data := os.read(descriptor, _PIECE):
                    self._rest.append((name, data))
        self.close()

    async def _until_readable(self) -> None:
        # Descriptors must not be closed, and their numbers given to others, while the event loop watches them.
        self._waiting += 1
        try:
            await until_readable(*self._outputs.values())
        finally:
            self._waiting -= 1
            if self._ended:
                self._take_rest()

    async def _until_writable(self) -> None:
        loop = asyncio.get_running_loop()
        descriptor = self._stdin
        ready: asyncio.Future[None] = loop.create_future()
        self._writable = ready
        loop.add_writer(descriptor, resolve, ready)
        try:
            await ready
        finally:
            self._writable = None
            if self._stdin == descriptor:
                loop.remove_writer(descriptor)
