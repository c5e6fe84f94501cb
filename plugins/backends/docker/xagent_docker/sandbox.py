"""One container that stands by or runs a job."""

from __future__ import annotations

import asyncio
from typing import Final

from docker.errors import APIError

from xagent_core.abc.backend import Sandbox, SandboxExit
from xagent_core.errors import BackendError, SandboxLostError
from xagent_core.types import StreamName
from xagent_docker.daemon import Daemon
from xagent_docker.endpoint import COMPONENT
from xagent_docker.events import End, Events
from xagent_docker.streams import AttachedStreams

__all__ = ["DockerSandbox", "remove"]

# Docker closes the streams of a container first, and tells 20 to 50 ms later how it ended.
_END_SECONDS: Final = 5.0
# The kernel's word about memory may come after the exit, but comes before the container is removed.
_OOM_SECONDS: Final = 0.5
_DRAIN_SECONDS: Final = 2.0
_SIGKILLED: Final = 137
_RESTART = "Look at the daemon's log, and run the job again if it may run twice."


class DockerSandbox(Sandbox):
    """A container.

    Args:
        daemon: Its daemon.
        container: Its id.
        streams: Connected before it was started.
        events: Tell how it ends.
        end: The same, for this one.
    """

    def __init__(
        self,
        daemon: Daemon,
        container: str,
        *,
        streams: AttachedStreams,
        events: Events,
        end: End,
    ) -> None:
        self.id = container[:12]
        self._container = container
        self._daemon = daemon
        self._streams = streams
        self._events = events
        self._end = end
        self._used = False
        self._removal: asyncio.Task[None] | None = None

    async def send(self, data: bytes) -> None:
        """Writes to the hijacked connection."""
        if self._streams.ended:
            raise self._lost("it had ended before it was given anything")
        self._used = True
        try:
            await self._streams.write(data)
        except ConnectionError as error:
            raise self._lost(str(error)) from error

    async def receive(self) -> tuple[StreamName, bytes] | None:
        """Takes the next frame, or a part of one."""
        try:
            return await self._streams.read()
        except ConnectionError as error:
            raise self._lost(str(error)) from error

    async def wait(self) -> SandboxExit:
        """Waits for what the daemon's events say of the end."""
        if not await _first(self._end.died, self._events.lost, within=_END_SECONDS):
            raise self._lost("its streams ended, and the daemon does not say that it did")
        if not self._end.died.is_set():
            raise self._lost("the daemon went away, or was restarted")
        if self._end.exit_code == _SIGKILLED and not self._end.oom_killed:
            await _first(self._end.removed, self._events.lost, within=_OOM_SECONDS)
        return self._end.exit()

    async def kill(self) -> None:
        """Removes the container by force; further calls wait for the first."""
        if self._removal is None or (self._removal.done() and _failed(self._removal)):
            self._removal = asyncio.create_task(self._remove())
        await asyncio.shield(self._removal)

    async def _remove(self) -> None:
        self._streams.discard_excess()
        try:
            if not self._end.removed.is_set():
                await remove(self._daemon, self._container, self._end)
        finally:
            await self._streams.drain(within=_DRAIN_SECONDS)
            self._events.forget(self._container)

    def _lost(self, cause: str) -> SandboxLostError:
        return SandboxLostError(
            COMPONENT, f"sandbox {self.id}: {cause}", _RESTART, code_ran="maybe" if self._used else "no"
        )


async def remove(daemon: Daemon, container: str, end: End | None = None) -> None:
    """Kills a container and removes it, in whatever state it is; one that is gone already is fine.

    Args:
        daemon: Its daemon.
        container: Its id or name.
        end: Watched, it tells when a removal that the daemon began by itself is done.

    Raises:
        BackendError: The daemon could not do it or does not answer.
    """
    try:
        await daemon.call(f"remove {container[:12]}", daemon.client.remove_container, container, force=True, v=True)
    except APIError as error:
        if error.status_code == 404:
            return
        # 409: "removal of container ... is already in progress", since it had ended by itself.
        if end is not None:
            await _first(end.removed, within=_END_SECONDS)
        elif "already in progress" not in str(error.explanation):
            raise BackendError(COMPONENT, f"the daemon could not remove {container}: {error.explanation}") from error


async def _first(*events: asyncio.Event, within: float) -> bool:
    """Whether one of the events came in time."""
    if any(event.is_set() for event in events):
        return True
    waits = [asyncio.create_task(event.wait()) for event in events]
    try:
        done, _ = await asyncio.wait(waits, timeout=within, return_when=asyncio.FIRST_COMPLETED)
        return bool(done)
    finally:
        for wait in waits:
            wait.cancel()


def _failed(task: asyncio.Task[None]) -> bool:
    return task.cancelled() or task.exception() is not None
