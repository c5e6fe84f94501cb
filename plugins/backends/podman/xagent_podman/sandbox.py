"""A Podman container, whose service is asked for its end."""

from __future__ import annotations

import asyncio
import re
import time
from collections import deque
from typing import Final

from xagent_core.abc.backend import SandboxExit
from xagent_core.containers.sandbox import ContainerSandbox
from xagent_core.containers.streams import AttachedStreams
from xagent_core.errors import BackendError
from xagent_core.types import StreamName
from xagent_podman.service import PodmanService

__all__ = ["PodmanSandbox"]

_Piece = tuple[StreamName, bytes]

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
        self._held: deque[_Piece] = deque()
        self._ready: deque[_Piece] = deque()

    async def receive(self) -> _Piece | None:
        """Leaves out what Podman itself writes to the program's errors when it attached to one that has ended.

        It is the last that comes; what a program wrote is followed by a mark at the least.
        """
        while not self._ready:
            piece = await super().receive()
            if piece is None:
                self._held.clear()
                return None
            self._held.append(piece)
            if piece[0] != "stderr" or _COMPLAINT.fullmatch(piece[1]) is None:
                self._ready, self._held = self._held, deque()
        return self._ready.popleft()

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
