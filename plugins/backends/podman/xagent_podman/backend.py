"""Starts sandboxes as Podman containers."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import ClassVar

from xagent_core.containers.backend import ContainerBackend
from xagent_core.containers.streams import AttachedStreams
from xagent_podman.endpoint import COMPONENT
from xagent_podman.sandbox import PodmanSandbox
from xagent_podman.service import PodmanService

__all__ = ["PodmanBackend"]


class PodmanBackend(ContainerBackend[PodmanService]):
    """Podman containers, rootful or rootless.

    Args:
        base_url: The service's address, before `CONTAINER_HOST` and Podman's connections.
        images: Images by language, before all others.
        runtime: The OCI runtime that Podman must be set up to use, such as `runsc` or `kata`.
        network: The network of programs that may reach the internet; by default Podman's own choice.
        pull: Whether an image that is missing is pulled.
        environ: Instead of the process's environment, to find the service.
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
        network: str = "",
        pull: bool = True,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(images=images, pull=pull)
        self._base_url = base_url
        self._runtime = runtime
        self._network = network
        self._environ = environ

    async def _open(self) -> PodmanService:
        environ = os.environ if self._environ is None else self._environ
        return await PodmanService.connect(self._base_url, environ, runtime=self._runtime, network=self._network)

    async def _connect(self) -> PodmanService:
        service = await super()._connect()
        await service.wake()
        return service

    async def _sandbox(self, service: PodmanService, container: str, streams: AttachedStreams) -> PodmanSandbox:
        return PodmanSandbox(service, container, streams)
