"""A container's three streams over one hijacked HTTP connection."""

from __future__ import annotations

import asyncio
import re
from collections import deque
from typing import Final

from xagent_core.types import StreamName

__all__ = ["AttachedStreams"]

# Above this the daemon is not read any more, and through it the program waits; below half of it, it is again.
_HIGH_WATER: Final = 256 * 1024
# After a kill all is read, so that the daemon can let go of the container; what is above this is thrown away.
# The daemon and the pipes hold about 1 MB of a stream.
_KEPT_AFTER_KILL: Final = 4 * 1024 * 1024
_HEADER: Final = 8
# 200 comes from some proxies.
_ATTACHED: Final = (101, 200)
_LENGTH: Final = re.compile(rb"\ncontent-length: *([0-9]+)", re.IGNORECASE)
_STREAMS: Final[dict[int, StreamName]] = {1: "stdout", 2: "stderr"}


class AttachedStreams(asyncio.Protocol):
    """Sends the attach request, then splits what comes into stdout and stderr.

    The daemon frames both streams into one: a byte that names the stream, three zero bytes, the length of the
    payload as four bytes, the payload ("Stream format" of the Engine API's ContainerAttach).

    Args:
        path: Of the request, with its query.

    Attributes:
        refusal: What the service answered if it refused.
    """

    def __init__(self, path: str) -> None:
        self.refusal = ""
        self._path = path
        self._transport: asyncio.Transport | None = None
        self._status: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._unparsed = bytearray()
        self._frame_left = 0
        self._frame_stream: StreamName = "stdout"
        self._pieces: deque[tuple[StreamName, bytes]] = deque()
        self._buffered = 0
        self._reading = True
        self._killed = False
        self._error: Exception | None = None
        self._readable = asyncio.Event()
        self._writable = asyncio.Event()
        self._closed = asyncio.Event()

    @property
    def ended(self) -> bool:
        """Whether the connection is closed; what was received may still be there."""
        return self._closed.is_set()

    async def attached(self) -> bool:
        """Waits for the daemon's answer to the request.

        Returns:
            Whether the streams are connected.

        Raises:
            OSError: The connection was closed before.
        """
        return await self._status in _ATTACHED

    async def write(self, data: bytes) -> None:
        """Writes to standard input, waiting while the daemon does not read.

        Raises:
            ConnectionError: The connection is or was closed.
        """
        if self._transport is not None and not self.ended:
            self._transport.write(data)
            await self._writable.wait()
        if self.ended or self._transport is None:
            raise self._broken()

    async def read(self) -> tuple[StreamName, bytes] | None:
        """The next piece; None when the connection was closed in an orderly way.

        Raises:
            ConnectionError: The connection broke.
        """
        while not self._pieces:
            if self.ended:
                if self._error is not None and not self._killed:
                    raise self._broken()
                return None
            self._readable.clear()
            await self._readable.wait()
        piece = self._pieces.popleft()
        self._buffered -= len(piece[1])
        if not self._reading and self._buffered < _HIGH_WATER // 2 and self._transport is not None:
            self._reading = True
            self._transport.resume_reading()
        return piece

    async def drain(self, *, within: float) -> None:
        """Takes in what the daemon still sends, then closes the connection; `read` still gives what there is.

        Args:
            within: Seconds that the daemon may take to end the streams.
        """
        self.discard_excess()
        try:
            async with asyncio.timeout(within):
                await self._closed.wait()
        except TimeoutError:
            self.close()

    def discard_excess(self) -> None:
        """From now on reads without waiting for a reader, and throws away what is too much."""
        self._killed = True
        if not self._reading and self._transport is not None and not self.ended:
            self._reading = True
            self._transport.resume_reading()

    def close(self) -> None:
        """Closes the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    # What asyncio calls:

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Sends the request."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - for mypy: a stream transport it is
        self._transport = transport
        self._writable.set()
        transport.write(
            f"POST {self._path} HTTP/1.1\r\nHost: engine\r\nUser-Agent: xagent\r\nContent-Length: 0\r\n"
            "Connection: Upgrade\r\nUpgrade: tcp\r\n\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        """Takes the answer, then the frames."""
        if not self._status.done():
            self._unparsed += data
            head, end, rest = bytes(self._unparsed).partition(b"\r\n\r\n")
            if not end:
                return
            status = int(head.split(b" ", 2)[1])
            if status not in _ATTACHED:
                length = _LENGTH.search(head)
                if length is not None and len(rest) < int(length[1]):
                    return
                self.refusal, rest = rest.decode("utf-8", "replace").strip(), b""
            self._unparsed.clear()
            self._status.set_result(status)
            data = rest
        self._split(data)
        self._readable.set()
        if self._buffered > _HIGH_WATER and self._reading and not self._killed and self._transport is not None:
            self._reading = False
            self._transport.pause_reading()

    def _split(self, data: bytes) -> None:
        """Takes frames apart; a payload is passed on as it comes, before its frame is complete."""
        at = 0
        while at < len(data):
            if self._frame_left == 0:
                missing = _HEADER - len(self._unparsed)
                self._unparsed += data[at : at + missing]
                at += missing
                if len(self._unparsed) == _HEADER:
                    self._frame_stream = _STREAMS.get(self._unparsed[0], "stdout")
                    self._frame_left = int.from_bytes(self._unparsed[4:], "big")
                    self._unparsed.clear()
                continue
            payload = data[at : at + self._frame_left]
            at += len(payload)
            self._frame_left -= len(payload)
            if not self._killed or self._buffered < _KEPT_AFTER_KILL:
                self._pieces.append((self._frame_stream, payload))
                self._buffered += len(payload)

    def pause_writing(self) -> None:
        """Makes writers wait."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Lets them go on."""
        self._writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wakes everyone up."""
        self._error = exc
        self._closed.set()
        self._readable.set()
        self._writable.set()
        if not self._status.done():
            self._status.set_exception(self._broken())

    def _broken(self) -> ConnectionError:
        error = ConnectionError(f"the connection to the container broke: {self._error or 'it was closed'}")
        error.__cause__ = self._error
        return error
