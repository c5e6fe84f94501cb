"""The hijacked connection, against a server that frames, cuts and stalls as a daemon may."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from xagent_core.containers.endpoint import Endpoint
from xagent_core.containers.streams import AttachedStreams

UPGRADED = b"HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.raw-stream\r\nUpgrade: tcp\r\n\r\n"

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def frame(stream: int, payload: bytes) -> bytes:
    return struct.pack(">BxxxL", stream, len(payload)) + payload


@asynccontextmanager
async def attached(folder: Path, handler: Handler) -> AsyncIterator[AttachedStreams]:
    """Streams attached to a server whose connections `handler` serves once the request is read."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        try:
            await handler(reader, writer)
        except ConnectionError:
            return
        finally:
            writer.close()

    async with await asyncio.start_unix_server(serve, folder / "s"):
        endpoint = Endpoint(url=f"unix://{folder}/s", source="a test")
        streams = await endpoint.connect(lambda: AttachedStreams("/attach"))
        try:
            yield streams
        finally:
            streams.close()
            await asyncio.sleep(0.01)


async def everything(streams: AttachedStreams) -> dict[str, bytes]:
    output = {"stdout": b"", "stderr": b""}
    while (piece := await streams.read()) is not None:
        output[piece[0]] += piece[1]
    return output


@pytest.mark.parametrize("size", [1, 7, 8, 9, 1000])
async def test_frames_may_be_cut_anywhere(tmp_path: Path, size: int) -> None:
    sent = UPGRADED + frame(1, b"out") + frame(2, b"") + frame(2, b"err" * 100) + frame(1, b"!")

    async def handler(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for start in range(0, len(sent), size):
            writer.write(sent[start : start + size])
            await writer.drain()

    async with attached(tmp_path, handler) as streams:
        assert await streams.attached()
        assert await everything(streams) == {"stdout": b"out!", "stderr": b"err" * 100}


async def test_a_refusal_is_a_status(tmp_path: Path) -> None:
    async def handler(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}")

    async with attached(tmp_path, handler) as streams:
        assert not await streams.attached()
        assert streams.refusal == "{}"


async def test_a_server_that_hangs_up_at_once(tmp_path: Path) -> None:
    async def handler(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with attached(tmp_path, handler) as streams:
        with pytest.raises(ConnectionError):
            await streams.attached()
        with pytest.raises(ConnectionError):
            await streams.write(b"x")


async def test_a_program_waits_while_nobody_reads(tmp_path: Path) -> None:
    sent = 0

    async def handler(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(UPGRADED)
        for _ in range(100):
            writer.write(frame(1, b"x" * 100_000))
            await writer.drain()
            sent += 100_000

    async with attached(tmp_path, handler) as streams:
        await streams.attached()
        await asyncio.sleep(0.3)
        assert sent < 2_000_000
        assert len((await everything(streams))["stdout"]) == 10_000_000


async def test_after_a_kill_the_rest_is_taken_in_without_a_reader(tmp_path: Path) -> None:
    async def handler(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(UPGRADED)
        for _ in range(100):
            writer.write(frame(1, b"x" * 100_000))
            await writer.drain()

    async with attached(tmp_path, handler) as streams:
        await streams.attached()
        await asyncio.sleep(0.1)
        await streams.drain(within=30)
        assert streams.ended
        assert 4_000_000 < len((await everything(streams))["stdout"]) < 5_000_000


async def test_a_cancelled_read_loses_nothing(tmp_path: Path) -> None:
    cancelled = asyncio.Event()

    async def handler(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(UPGRADED + frame(1, b"late")[:5])
        await cancelled.wait()
        writer.write(frame(1, b"late")[5:])

    async with attached(tmp_path, handler) as streams:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(streams.read(), 0.02)
        cancelled.set()
        assert await everything(streams) == {"stdout": b"late", "stderr": b""}
