"""A Podman container, whose service is asked for its end."""

from __future__ import annotations

import asyncio
import re
import time
from typing import Final

from xagent_core.abc.backend import SandboxExit
from xagent_core.containers.sandbox import ContainerSandbox
from xagent_core.containers.streams import AttachedStreams
from xagent_core.errors import BackendError
from xagent_core.types import StreamName
from xagent_podman.service import PodmanService

__all__ = ["PodmanSandbox"]

_END_SECONDS: Final = 5.0
_SIGKILLED: Final = 137
# "Error: write unixpacket @->/proc/self/fd/13/attach: write: connection reset by peer": its way to the input is closed.
_COMPLAINT: Final = re.compile(rb"Error: (read|write) unix(packet)? .*/attach: .*\n")


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

    async def receive(self) -> tuple[StreamName, bytes] | None:
        """Leaves out what Podman itself writes to the program's errors when it attached to one that has ended."""
        piece = await super().receive()
        while piece is not None and piece[0] == "stderr" and _COMPLAINT.fullmatch(piece[1]):
            piece = await super().receive()
        return piece

    async def wait(self) -> SandboxExit:
        """Asks at once: Podman's events come up to a quarter of a second later, when the container may be gone."""
        # Podman does not hear of memory on every kernel: that it was not the cause is never certain.
        if self._removal is not None:
            return SandboxExit(exit_code=_SIGKILLED)
        deadline = time.monotonic() + _END_SECONDS
        try:
            while state := await self._podman.state(self._container):
                if state["Status"] not in ("running", "stopping"):
                    return SandboxExit(exit_code=state["ExitCode"], oom_killed=state["OOMKilled"] or None)
                if time.monotonic() > deadline:
                    raise self._lost("its streams ended, and it did not")
                await asyncio.sleep(0.01)
        except BackendError as error:
            raise self._lost(f"the service went away: {error.cause}") from error
        return SandboxExit()
