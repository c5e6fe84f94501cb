"""Starts sandboxes as Docker containers."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime
from typing import ClassVar

from xagent_core.containers.backend import ContainerBackend
from xagent_core.containers.streams import AttachedStreams
from xagent_docker.daemon import Daemon
from xagent_docker.endpoint import COMPONENT
from xagent_docker.events import Events
from xagent_docker.sandbox import DockerSandbox

__all__ = ["DockerBackend"]


class DockerBackend(ContainerBackend[Daemon]):
    """Docker containers.

    Args:
        base_url: The daemon's address, before `DOCKER_HOST` and the Docker context.
        images: Images by language, before all others.
        runtime: The OCI runtime, such as `runsc` or `kata`.
        network: The Docker network of programs that may reach the internet.
        pull: Whether an image that is missing is pulled.
        environ: Instead of the process's environment, to find the daemon.
    """

    name = COMPONENT
    options: ClassVar[Mapping[str, type]] = {
        "base_url": str,
        "images": dict,
        "runtime": str,
        "network": str,
        "pull": bool,
    }

    def __init__(
        self,
        *,
        base_url: str | None = None,
        images: Mapping[str, str] | None = None,
        runtime: str | None = None,
        network: str = "bridge",
        pull: bool = True,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(images=images, pull=pull)
        self._base_url = base_url
        self._runtime = runtime
        self._network = network
        self._environ = environ
        self._events: Events | None = None

    async def aclose(self) -> None:
        """Stops listening to events, too."""
        await super().aclose()
        if self._events is not None:
            await self._events.aclose()
        self._events = None

    async def _open(self) -> Daemon:
        environ = os.environ if self._environ is None else self._environ
        return await Daemon.connect(self._base_url, environ, runtime=self._runtime, network=self._network)

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
