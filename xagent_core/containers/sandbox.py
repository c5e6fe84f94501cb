"""One container that stands by or runs a job."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from typing import Final

from xagent_core.abc.backend import Sandbox, SandboxExit
from xagent_core.containers.service import Service
from xagent_core.containers.streams import AttachedStreams
from xagent_core.errors import SandboxLostError
from xagent_core.types import StreamName

__all__ = ["ContainerSandbox"]

_DRAIN_SECONDS: Final = 2.0
_RESTART = "Look at the log of the service, and run the job again if it may run twice."


class ContainerSandbox(Sandbox):
    """A container.

    Args:
        service: Its engine.
        container: Its id.
        streams: Connected before it was started.
    """

    def __init__(self, service: Service, container: str, streams: AttachedStreams) -> None:
        self.id = container[:12]
        self._service = service
        self._container = container
        self._streams = streams
        self._used = False
        self._removal: asyncio.Task[None] | None = None

    @abstractmethod
    async def wait(self) -> SandboxExit:
        """Asks the engine how the container ended: each has its own way."""

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

    async def kill(self) -> None:
        """Removes the container by force; further calls wait for the first."""
        if self._removal is None or (self._removal.done() and _failed(self._removal)):
            self._removal = asyncio.create_task(self._end())
        await asyncio.shield(self._removal)

    async def _end(self) -> None:
        self._streams.discard_excess()
        try:
            await self._remove()
        finally:
            await self._streams.drain(within=_DRAIN_SECONDS)
            self.forget()

    def forget(self) -> None:
        """Frees what waits for the end of the container; the container itself stays."""
        self._streams.close()

    async def _remove(self) -> None:
        await self._service.remove(self._container)

    def _lost(self, cause: str) -> SandboxLostError:
        component, ran = self._service.advice.component, self._used
        return SandboxLostError(component, f"sandbox {self.id}: {cause}", _RESTART, code_ran="maybe" if ran else "no")


def _failed(task: asyncio.Task[None]) -> bool:
    return task.cancelled() or task.exception() is not None
