"""Hears from the daemon how containers end: one connection for all of them."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any, Final
from urllib.parse import quote

from xagent_core.abc.backend import SandboxExit
from xagent_core.containers.advice import unavailable
from xagent_docker.daemon import Daemon

__all__ = ["End", "Events"]

logger = logging.getLogger(__name__)

_LINE_LIMIT: Final = 1024 * 1024


class End:
    """What is known of how one container ended."""

    def __init__(self) -> None:
        self.exit_code: int | None = None
        self.oom_killed = False
        self.killed_by_daemon = False
        self.died = asyncio.Event()
        self.removed = asyncio.Event()

    def exit(self) -> SandboxExit:
        """As the contract has it; a False about memory is certain only where no more can come."""
        return SandboxExit(exit_code=self.exit_code, oom_killed=self.oom_killed)


class Events:
    """The events of one owner's containers.

    Args:
        daemon: Tells them.
        owner: The value of the label `xagent-owner`.
        since: Seconds since 1970 by the daemon's clock: what happened while the connection was made is heard too.
    """

    def __init__(self, daemon: Daemon, *, owner: str, since: int) -> None:
        filters = {
            "type": ["container"],
            "event": ["die", "oom", "kill", "destroy"],
            "label": [f"xagent-owner={owner}"],
        }
        # HTTP 1.0, so that the answer is not cut into chunks: it ends with the connection.
        self._request = (
            f"GET {daemon.api}/events?since={since}&filters={quote(json.dumps(filters))} HTTP/1.0\r\n"
            "Host: docker\r\nUser-Agent: xagent\r\n\r\n"
        ).encode()
        self._daemon = daemon
        self._ends: dict[str, End] = {}
        self._task: asyncio.Task[None] | None = None
        self._protocol: _EventStream | None = None
        self.lost = asyncio.Event()

    async def open(self) -> None:
        """Connects, and hears all from now on.

        Raises:
            BackendUnavailableError: The daemon does not answer.
        """
        try:
            await self._open()
        except OSError as error:
            raise unavailable(error, self._daemon.endpoint, self._daemon.advice) from error

    async def _open(self) -> None:
        reader = asyncio.StreamReader(limit=_LINE_LIMIT)
        self._protocol = await self._daemon.endpoint.connect(lambda: _EventStream(reader, self._request))
        try:
            status = await reader.readline()
            while (await reader.readline()).strip():
                pass
            if status.split()[1:2] != [b"200"]:
                raise OSError(f"the daemon's events are refused: {status.decode('latin-1').strip()}")
        except BaseException:
            self._protocol.close()
            raise
        self._task = asyncio.create_task(self._listen(reader, self._protocol))

    def watch(self, container: str) -> End:
        """From now on hears about a container; to be called before it is started."""
        return self._ends.setdefault(container, End())

    def forget(self, container: str) -> None:
        """The opposite of `watch`."""
        self._ends.pop(container, None)

    async def aclose(self) -> None:
        """Closes the connection."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        # A task that is cancelled before its first step has closed nothing.
        if self._protocol is not None:
            self._protocol.close()

    async def _listen(self, reader: asyncio.StreamReader, protocol: _EventStream) -> None:
        try:
            while line := await reader.readline():
                self._take(json.loads(line))
        except (OSError, ValueError) as error:
            logger.warning("the daemon's events broke off: %s", error)
        finally:
            protocol.close()
            self.lost.set()

    def _take(self, event: dict[str, Any]) -> None:
        actor = event.get("Actor", {})
        end = self._ends.get(actor.get("ID", ""))
        if end is None:
            return
        match event.get("Action"):
            case "oom":
                end.oom_killed = True
            case "kill":
                end.killed_by_daemon = True
            case "die":
                code = str(actor.get("Attributes", {}).get("exitCode", ""))
                end.exit_code = int(code) if code.isdecimal() else None
                end.died.set()
            case "destroy":
                end.died.set()
                end.removed.set()


class _EventStream(asyncio.StreamReaderProtocol):
    """Sends the request when connected."""

    def __init__(self, reader: asyncio.StreamReader, request: bytes) -> None:
        super().__init__(reader)
        self._request = request
        self._own_transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - for mypy: a stream transport it is
        self._own_transport = transport
        transport.write(self._request)

    def close(self) -> None:
        if self._own_transport is not None:
            self._own_transport.abort()
