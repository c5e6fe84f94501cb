"""One running bwrap: its streams, its end, and what it used."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Final

from xagent_bubblewrap.cgroups import SandboxCgroup
from xagent_bubblewrap.pipes import Pipes, until_readable
from xagent_core.abc.backend import Sandbox, SandboxExit
from xagent_core.bridge import in_thread
from xagent_core.errors import BackendError, SandboxLostError
from xagent_core.types import StreamName, Usage

__all__ = ["BubblewrapSandbox"]

_KILL_SECONDS: Final = 10.0


class BubblewrapSandbox(Sandbox):
    """A bwrap and the process tree in it.

    Args:
        component: The backend's name, for errors.
        name: The sandbox's own.
        pid: bwrap's monitor: it waits outside, and ends when all inside has ended.
        handle: A pidfd of it.
        pipes: The streams.
        cgroup: Its limits; None where there are none.
        abandoned: Whether the fork server has ended, with which every bwrap ends.
        ended: Called with it when nothing is left of it.
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
        abandoned: Callable[[], bool],
        ended: Callable[[BubblewrapSandbox], object],
    ) -> None:
        self.id = name
        self._component = component
        self._pid = pid
        self._handle = handle
        self._pipes = pipes
        self._cgroup = cgroup
        self._abandoned = abandoned
        self._ended = ended
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
        if self._end is None:
            await until_readable(self._handle)
            if self._abandoned():
                raise SandboxLostError(
                    self._component,
                    f"sandbox {self.id}: the backend's fork server ended, and all sandboxes with it",
                    "Run the job again if it may run twice: the next sandbox starts another.",
                )
        usage = await self.usage()
        return SandboxExit(oom_killed=None if usage is None or usage.oom_kills is None else usage.oom_kills > 0)

    async def usage(self) -> Usage | None:
        """What the control group has counted."""
        return self._cgroup.usage() if self._cgroup else None

    async def kill(self) -> None:
        """Ends every process inside, and removes the control group."""
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
            raise BackendError(
                self._component,
                f"sandbox {self.id} (process {self._pid}) does not end",
                "A process in it may wait for a device or a network file system: see its state with ps.",
            ) from error
        finally:
            self._pipes.end()
            os.close(self._handle)
        if self._cgroup is not None:
            try:
                await in_thread(self._cgroup.remove)
            except OSError as error:
                raise BackendError(self._component, f"the control group of {self.id} stays: {error}") from error
        self._ended(self)

    def _signal(self) -> None:
        """Kills the first process inside; the kernel then ends all others in its pid namespace.

        bwrap's monitor ends when it has collected the first process, so that its end is the end of all.
        """
        children = Path(f"/proc/{self._pid}/task/{self._pid}/children")
        with contextlib.suppress(OSError):
            inside = [int(pid) for pid in children.read_text().split()]
            for pid in inside:
                os.kill(pid, signal.SIGKILL)
            if inside:
                return
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._handle, signal.SIGKILL)
