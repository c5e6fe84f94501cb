"""A Podman container, whose service is asked for its end."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from xagent_core.abc.backend import SandboxExit
from xagent_core.containers.sandbox import ContainerSandbox
from xagent_core.containers.streams import AttachedStreams
from xagent_core.errors import BackendError
from xagent_podman.service import PodmanService

__all__ = ["PodmanSandbox"]

_END_SECONDS: Final = 5.0
_SIGKILLED: Final = 137


class PodmanSandbox(ContainerSandbox):
    """A container.

    Args:
        service: Its engine.
        container: Its id.
        streams: Connected before it was started.
    """

    def __init__(self, service: PodmanService, container: str, streams: AttachedStreams) -> None:
        super().__init__(service, container, streams)
        self._podman = service

    async def wait(self) -> SandboxExit:
        """Asks at once: Podman's events come up to a quarter of a second later, when the container may be gone."""
        if self._removal is not None:
            return SandboxExit(exit_code=_SIGKILLED)
        deadline = time.monotonic() + _END_SECONDS
        try:
            while state := await self._podman.state(self._container):
                if state["Status"] not in ("running", "stopping"):
                    return SandboxExit(exit_code=state["ExitCode"], oom_killed=state["OOMKilled"])
                if time.monotonic() > deadline:
                    raise self._lost("its streams ended, and it did not")
                await asyncio.sleep(0.01)
        except BackendError as error:
            raise self._lost(f"the service went away: {error.cause}") from error
        return SandboxExit()
