"""Starts sandboxes as Docker containers."""

from __future__ import annotations

from datetime import datetime

from xagent_core.containers.backend import ContainerBackend
from xagent_core.containers.streams import AttachedStreams
from xagent_docker.daemon import Daemon
from xagent_docker.endpoint import COMPONENT
from xagent_docker.events import Events
from xagent_docker.sandbox import DockerSandbox

__all__ = ["DockerBackend"]


class DockerBackend(ContainerBackend[Daemon]):
    """Docker containers."""

    name = COMPONENT
    network = "bridge"
    service_type = Daemon
    _events: Events | None = None

    async def aclose(self) -> None:
        """Stops listening to events, too."""
        await super().aclose()
        if self._events is not None:
            await self._events.aclose()
        self._events = None

    async def _sandbox(self, service: Daemon, container: str, streams: AttachedStreams) -> DockerSandbox:
        return DockerSandbox(service, container, streams, await self._listening(service))

    async def _listening(self, daemon: Daemon) -> Events:
        """The daemon's events; connected anew after it was restarted."""
        async with self._connecting:
            if self._events is None or self._events.lost.is_set():
                info = await daemon.call("tell its time", daemon.client.info)
                # The daemon's clock counts, and what happens until it listens to us is not lost.
                since = int(datetime.fromisoformat(info["SystemTime"]).timestamp())
                events = Events(daemon, owner=str(self._own()), since=since)
                await events.open()
                self._events = events
            return self._events
