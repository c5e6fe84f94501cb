"""Reads a response's body within limits that hold before and after it is unpacked."""

from __future__ import annotations

import zlib
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Final, Protocol

from xagent_tools_web.errors import WebError

__all__ = ["ACCEPT_ENCODING", "read_body"]

ACCEPT_ENCODING: Final = "gzip, deflate"
"""What is asked for: what the standard library can unpack piece by piece, within a limit."""


class _Unpacker(Protocol):
    def unpack(self, data: bytes, most: int) -> bytes: ...


class _Plain:
    def unpack(self, data: bytes, most: int) -> bytes:
        return data[:most]


class _Zlib:
    """gzip of any number of members, zlib, or the bare deflate that some servers send under its name."""

    def __init__(self) -> None:
        self._stream: zlib._Decompress | None = None
        self._waiting = b""
        self._ended = False

    def unpack(self, data: bytes, most: int) -> bytes:
        out = bytearray()
        data = self._waiting + data
        self._waiting = b""
        while data and len(out) < most:
            if self._stream is None:
                if self._ended and data[:2] != b"\x1f\x8b"[: len(data)]:
                    break  # What stands behind the end, to fill a block up or by mistake, gzip leaves alone, too.
                if len(data) < 2:
                    self._waiting = data
                    break
                self._stream = zlib.decompressobj(_form(data))
            out += self._stream.decompress(data, most - len(out))
            data = self._stream.unconsumed_tail
            if self._stream.eof:
                data = self._stream.unused_data
                self._stream = None
                self._ended = True
        return bytes(out)


def _form(data: bytes) -> int:
    """How zlib is told what it gets, from the first two bytes (RFC 1950, section 2.2; RFC 1952, section 2.3.1)."""
    if data[:2] == b"\x1f\x8b":
        return zlib.MAX_WBITS | 16
    is_zlib = data[0] & 0x0F == zlib.DEFLATED and int.from_bytes(data[:2], "big") % 31 == 0
    return zlib.MAX_WBITS if is_zlib else -zlib.MAX_WBITS


async def read_body(chunks: AsyncIterator[bytes], *, encoding: str, most: int, request: str) -> tuple[bytes, bool]:
    """Reads a body up to a limit, and no further.

    A small packed body that unpacks to gigabytes costs no more than `most` bytes of memory, and no time.

    Args:
        chunks: The body as it comes from the network.
        encoding: The header `Content-Encoding`.
        most: Bytes to read from the network, and bytes to give.
        request: What an error calls the request.

    Returns:
        The body, and whether there is more of it.

    Raises:
        WebError: The body is packed in a way that was not asked for, or is damaged.
    """
    name = encoding.strip().lower()
    if name not in {"", "identity", "gzip", "x-gzip", "deflate"}:
        raise WebError(request, "the server packed the body in a way that was not asked for", "Try another address.")
    unpacker: _Unpacker = _Plain() if name in {"", "identity"} else _Zlib()
    body = bytearray()
    came = 0
    try:
        async for chunk in chunks:
            came += len(chunk)
            # One byte more than is wanted tells whether there is more.
            body += unpacker.unpack(chunk, most + 1 - len(body))
            if len(body) > most or came > most:
                return bytes(body[:most]), True
    except zlib.error as error:
        raise WebError(request, "the body is damaged: it cannot be unpacked", "Try another address.") from error
    finally:
        if isinstance(chunks, AsyncGenerator):
            await chunks.aclose()
    return bytes(body), False
