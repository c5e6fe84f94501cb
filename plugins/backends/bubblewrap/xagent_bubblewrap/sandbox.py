"""One running bwrap: its three streams, its end, and what it used."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final

from xagent_core.abc.backend import Sandbox, SandboxExit
from xagent_core.errors import BackendError, SandboxLostError
from xagent_core.types import StreamName, Usage

from xagent_bubblewrap.cgroups import SandboxCgroup

__all__ = ["BubblewrapSandbox", "Pipes", "until_readable"]

_PIECE: Final = 256 * 1024
_KILL_SECONDS: Final = 10.0


async def until_readable(*descriptors: int) -> None:
    """Waits until one of the descriptors can be read, or its other end is closed."""
    loop = asyncio.get_running_loop()
    ready = loop.create_future()
    try:
        for descriptor in descriptors:
            loop.add_reader(descriptor, _resolve, ready)
        await ready
    finally:
        for descriptor in descriptors:
            loop.remove_reader(descriptor)


def _resolve(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


class Pipes:
    """The engine's ends of a sandbox's streams; what is not fetched stays in the kernel's own, bounded buffers."""

    def __init__(self) -> None:
        self.stdin = -1
        self._outputs: dict[StreamName, int] = {}
        self._rest: deque[tuple[StreamName, bytes]] = deque()
        self._ended = False
        self._waiting = 0
        self._writable: asyncio.Future[None] | None = None
        self.theirs: list[int] = []
        try:
            inner, self.stdin = os.pipe2(os.O_CLOEXEC)
            self.theirs.append(inner)
            names: tuple[StreamName, ...] = ("stdout", "stderr")
            for name in names:
                self._outputs[name], inner = os.pipe2(os.O_CLOEXEC)
                self.theirs.append(inner)
            for descriptor in (self.stdin, *self._outputs.values()):
                os.set_blocking(descriptor, False)
        except BaseException:
            self.close()
            raise

    def close_theirs(self) -> None:
        """Closes the sandbox's ends, which it has by now."""
        while self.theirs:
            os.close(self.theirs.pop())

    def close_stdin(self) -> None:
        """Ends what the sandbox reads."""
        if self.stdin < 0:
            return
        if self._writable is not None:
            asyncio.get_running_loop().remove_writer(self.stdin)
            if not self._writable.done():
                self._writable.set_result(None)
        os.close(self.stdin)
        self.stdin = -1

    def close(self) -> None:
        """Closes all that is open."""
        self.close_theirs()
        self.close_stdin()
        while self._outputs:
            os.close(self._outputs.popitem()[1])

    def end(self) -> None:
        """Nobody inside is left: keeps the rest of the output (a pipe's buffer at most), and closes everything."""
        self._ended = True
        if not self._waiting:
            self._take_rest()

    def _take_rest(self) -> None:
        for name, descriptor in self._outputs.items():
            with contextlib.suppress(BlockingIOError):
                while data := os.read(descriptor, _PIECE):
                    self._rest.append((name, data))
        self.close()

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
            if self.stdin < 0:
                raise BrokenPipeError
            try:
                rest = rest[os.write(self.stdin, rest) :]
            except BlockingIOError:
                await self._until_writable()

    async def _until_readable(self) -> None:
        self._waiting += 1
        try:
            await until_readable(*self._outputs.values())
        finally:
            self._waiting -= 1
            if self._ended:
                self._take_rest()

    async def _until_writable(self) -> None:
        loop = asyncio.get_running_loop()
        descriptor, ready = self.stdin, loop.create_future()
        self._writable = ready
        loop.add_writer(descriptor, _resolve, ready)
        try:
            await ready
        finally:
            self._writable = None
            if self.stdin == descriptor:
                loop.remove_writer(descriptor)


class BubblewrapSandbox(Sandbox):
    """A bwrap and the process tree in it.

    Args:
        component: The backend's name, for errors.
        name: The sandbox's own.
        pid: Of bwrap's monitor, which ends when all inside has ended.
        handle: A pidfd of it.
        pipes: The streams.
        cgroup: Its limits; None where there are none.
        forget: Called when all is over.
    """

    def __init__(
        self,
        component: str,
        name: str,
        *,
        pid: int,
        handle: int,
        pipes: Pipes,
        cgroup: SandboxCgroup | None,
        forget: Callable[[BubblewrapSandbox], None],
    ) -> None:
        self.id = name
        self._component = component
        self._pid = pid
        self._handle = handle
        self._pipes = pipes
        self._cgroup = cgroup
        self._forget = forget
        self._end: asyncio.Task[None] | None = None

    async def send(self, data: bytes) -> None:
        """Writes to the first process's standard input."""
        try:
            await self._pipes.write(data)
        except BrokenPipeError as error:
            # A message is acted upon when its last line has been read, and that was not even written.
            raise SandboxLostError(
                self._component, f"sandbox {self.id} ended before its program was handed over", code_ran="no"
            ) from error

    async def receive(self) -> tuple[StreamName, bytes] | None:
        """The next piece of output."""
        return await self._pipes.read()

    async def wait(self) -> SandboxExit:
        """Waits for the end of the first process."""
        if self._handle >= 0:
            await until_readable(self._handle)
        usage = await self.usage()
        return SandboxExit(oom_killed=None if usage is None or usage.oom_kills is None else usage.oom_kills > 0)

    async def usage(self) -> Usage | None:
        """What the cgroup has counted."""
        return self._cgroup.usage() if self._cgroup else None

    async def kill(self) -> None:
        """Ends every process inside, and removes the cgroup."""
        if self._end is None:
            self._end = asyncio.create_task(self._finish())
        await asyncio.shield(self._end)

    async def _finish(self) -> None:
        self._pipes.close_stdin()
        self._signal()
        try:
            async with asyncio.timeout(_KILL_SECONDS):
                await until_readable(self._handle)
        except TimeoutError as error:
            raise BackendError(self._component, f"sandbox {self.id} (process {self._pid}) does not end") from error
        self._pipes.end()
        os.close(self._handle)
        self._handle = -1
        if self._cgroup is not None:
            await self._cgroup.remove()
        self._forget(self)

    def _signal(self) -> None:
        """Kills the first process inside; the kernel then ends all others in its pid namespace.

        bwrap's monitor ends when it has collected the first process, so that its end is the end of all.
        """
        children = Path(f"/proc/{self._pid}/task/{self._pid}/children")
        with contextlib.suppress(OSError, ProcessLookupError):
            inside = [int(pid) for pid in children.read_text().split()]
            for pid in inside:
                os.kill(pid, signal.SIGKILL)
            if inside:
                return
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._handle, signal.SIGKILL)

    def close(self) -> None:
        """Closes the streams."""
        self._pipes.close()
