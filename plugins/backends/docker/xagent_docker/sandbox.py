"""A Docker container, whose end the daemon's events tell."""

from __future__ import annotations

import asyncio
from typing import Final

from xagent_core.abc.backend import SandboxExit
from xagent_core.containers.sandbox import ContainerSandbox
from xagent_core.containers.streams import AttachedStreams
from xagent_docker.daemon import Daemon
from xagent_docker.events import Events

__all__ = ["DockerSandbox"]

# Docker closes the streams of a container first, and tells 20 to 50 ms later how it ended.
_END_SECONDS: Final = 5.0
_SIGKILLED: Final = 137


class DockerSandbox(ContainerSandbox):
    """A container.

    Args:
        daemon: Its daemon.
        container: Its id.
        streams: Connected before it was started.
        events: Tell how it ends.
    """

    def __init__(self, daemon: Daemon, container: str, streams: AttachedStreams, events: Events) -> None:
        super().__init__(daemon, container, streams)
        self._events = events
        self._end_seen = events.watch(container)

    async def wait(self) -> SandboxExit:
        """Waits for what the daemon's events say of the end."""
        end = self._end_seen
        if not await _first(end.died, self._events.lost, within=_END_SECONDS):
            raise self._lost("its streams ended, and the daemon does not say that it did")
        if not end.died.is_set():
            raise self._lost("the daemon went away, or was restarted")
        # A program that kills all that it can, or the kernel for want of memory, does so without the daemon.
        if end.killed_by_daemon and self._removal is None:
            raise self._lost("the daemon killed it, since it was stopped or somebody told it to")
        if end.exit_code == _SIGKILLED and not end.oom_killed:
            # The kernel's word about memory may come after the exit, but comes before the container is removed.
            await _first(end.removed, self._events.lost, within=_END_SECONDS)
        return end.exit()

    def forget(self) -> None:
        """Listens to no more of its events."""
        super().forget()
        self._events.forget(self._container)

    async def _remove(self) -> None:
        if not self._end_seen.removed.is_set() and await self._service.remove(self._container) == "ending":
            await _first(self._end_seen.removed, self._events.lost, within=_END_SECONDS)


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
