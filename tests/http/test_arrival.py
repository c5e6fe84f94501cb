"""Callers who send slowly do not hold a connection; callers who take their time between requests, or to answer, do."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterable

import pytest

from xagent_core.http.limits import Limited, RequestLimits
from xagent_core.http.server import open_door, serve

IDLE = 1
HEADER = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n"
GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"

Connect = Callable[[bytes], contextlib.AbstractAsyncContextManager[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


async def hasty(scope, receive, send):
    """Answers before the body is there, as a guard does that refuses."""
    await asyncio.sleep(1.5 * IDLE if scope["path"] == "/slow" else 0)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@contextlib.asynccontextmanager
async def serving(app) -> AsyncIterator[Connect]:
    door = open_door("127.0.0.1", 0)
    ready = asyncio.Event()
    server = asyncio.create_task(serve(app, door, grace=1, idle=IDLE, opened=ready.set))
    await ready.wait()

    @contextlib.asynccontextmanager
    async def connect(first):
        caller = socket.create_connection(("127.0.0.1", door.port))
        # It is there before the server learns of the connection: its time cannot be up before that.
        caller.sendall(first)
        reader, writer = await asyncio.open_connection(sock=caller)
        try:
            yield reader, writer
        finally:
            writer.close()

    try:
        yield connect
    finally:
        server.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await server


async def everything(reader: asyncio.StreamReader) -> bytes:
    """What arrives until the end, a reset included: what was sent into a closed connection resets it."""
    answered = bytearray()
    with contextlib.suppress(ConnectionResetError, BrokenPipeError):
        # Not `read()`, which loses what it has when the reset comes after it.
        while piece := await reader.read(4096):
            answered += piece
    return bytes(answered)


async def trickle(connect: Connect, first: bytes, then: Iterable[bytes]) -> tuple[bytes, float]:
    """Sends piece by piece until the server closes; what it had answered, and after how many seconds it closed."""
    started = time.monotonic()
    async with connect(first) as (reader, writer):
        reading = asyncio.create_task(everything(reader))
        for piece in then:
            await asyncio.wait([reading], timeout=0.1)
            if reading.done() or time.monotonic() - started > 20:
                break
            writer.write(piece)
        return await asyncio.wait_for(reading, 10), time.monotonic() - started


@pytest.mark.parametrize(
    ("first", "then"),
    [
        (b"", itertools.repeat(b"")),
        (b"GET / HTTP/1.1\r\n", (f"X-{n}: x\r\n".encode() for n in itertools.count())),
        (GET, (b"%c" % byte for byte in itertools.chain(GET[:-1], itertools.repeat(120)))),
        (HEADER, itertools.repeat(b"x")),
    ],
    ids=["nothing", "a header", "a second header", "a body that nobody reads"],
)
async def test_a_request_that_trickles_in_is_cut_off(first, then):
    async with serving(hasty) as connect:
        answered, seconds = await trickle(connect, first, then)
    assert seconds > IDLE - 0.1
    assert answered.count(b"200 OK") == (1 if first.endswith(b"\r\n\r\n") else 0)


async def test_a_body_that_trickles_in_is_told_so():
    async with serving(Limited(hasty, RequestLimits(body_seconds=0.3))) as connect:
        answered, _ = await trickle(connect, HEADER, itertools.repeat(b"x"))
    assert answered.startswith(b"HTTP/1.1 408 ")
    assert b"the body did not arrive within 0.3 s" in answered


async def test_a_caller_who_waits_for_an_answer_is_left_alone():
    slow = GET.replace(b"/", b"/slow", 1)
    async with serving(hasty) as connect, connect(slow + slow) as (reader, _):
        for _ in range(2):
            assert b"200 OK" in await reader.readuntil(b"ok")
