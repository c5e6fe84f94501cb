"""Starts sandboxes as Podman containers."""

from __future__ import annotations

from xagent_core.containers.backend import ContainerBackend
from xagent_core.containers.streams import AttachedStreams
from xagent_podman.endpoint import COMPONENT
from xagent_podman.sandbox import PodmanSandbox
from xagent_podman.service import PodmanService

__all__ = ["PodmanBackend"]


class PodmanBackend(ContainerBackend[PodmanService]):
    """Podman containers, rootful or rootless. A runtime must be the one that Podman has been set up to use."""

    name = COMPONENT
    service_type = PodmanService

    async def _connect(self) -> PodmanService:
        service = await super()._connect()
        await service.wake()
        return service

    async def _sandbox(self, service: PodmanService, container: str, streams: AttachedStreams) -> PodmanSandbox:
        return PodmanSandbox(service, container, streams)
