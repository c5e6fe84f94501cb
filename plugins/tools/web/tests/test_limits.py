"""Limits on size, time, headers and pace hold against servers that mean no good."""

from __future__ import annotations

import asyncio
import gzip
import time
import tracemalloc
import zlib

import pytest
from xagent_tools_web.body import read_body
from xagent_tools_web.errors import WebError

MIB = 1024 * 1024
HEAD = b"HTTP/1.1 200 OK\r\nConnection: close\r\n"


async def test_a_body_without_end_is_read_up_to_the_limit(site, web_to):
    async def endless(_asked, writer):
        writer.write(HEAD + b"Content-Type: text/plain\r\n\r\n")
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()

    site.routes["/"] = endless
    page = await web_to(site, robots=False, max_bytes="1m").request("GET", site.url())
    assert (len(page.body), page.truncated) == (MIB, True)


async def test_a_bomb_is_unpacked_up_to_the_limit(site, web_to, reply):
    layer = zlib.compressobj(wbits=31)
    bomb = b"".join(layer.compress(bytes(MIB)) for _ in range(100)) + layer.flush()
    site.routes["/"] = reply(bomb, "Content-Encoding: gzip")
    web = web_to(site, robots=False, max_bytes="1m")
    tracemalloc.start()
    try:
        page = await web.request("GET", site.url())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(bomb) < MIB
    assert (len(page.body), page.truncated) == (MIB, True)
    assert peak < 16 * MIB


@pytest.mark.parametrize(
    ("encoding", "packed"),
    [
        ("gzip", gzip.compress(b"hello", mtime=0)),
        ("x-gzip", gzip.compress(b"hel", mtime=0) + gzip.compress(b"lo", mtime=0)),
        ("gzip", gzip.compress(b"hello", mtime=0) + bytes(512)),
        ("deflate", zlib.compress(b"hello")),
        ("deflate", zlib.compress(b"hello", wbits=-15)),
        ("identity", b"hello"),
    ],
    ids=["gzip", "two members", "padded", "zlib", "bare deflate", "plain"],
)
async def test_bodies_are_unpacked(encoding, packed):
    for size in (1, 3, len(packed)):

        async def chunks(size=size):
            for start in range(0, len(packed), size):
                yield packed[start : start + size]

        assert await read_body(chunks(), encoding=encoding, most=1000, request="") == (b"hello", False)


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "compress", "aes128gcm"])
async def test_no_other_packing_is_touched(site, web_to, reply, encoding):
    site.routes["/"] = reply(b"\x00" * 100, f"Content-Encoding: {encoding}")
    with pytest.raises(WebError, match="not asked for"):
        await web_to(site, robots=False).request("GET", site.url())
    assert site.asked[0].headers["accept-encoding"] == "gzip, deflate"


async def test_a_damaged_body(site, web_to, reply):
    site.routes["/"] = reply(b"no gzip at all", "Content-Encoding: gzip")
    with pytest.raises(WebError, match="cannot be unpacked"):
        await web_to(site, robots=False).request("GET", site.url())


@pytest.mark.parametrize("what", ["before the status", "in the headers", "in the body"])
async def test_a_server_that_drips_is_left_when_the_time_is_up(site, web_to, what):
    parts = {"before the status": b"HTTP/1.1", "in the headers": HEAD + b"X: ", "in the body": HEAD + b"\r\n"}

    async def drip(_asked, writer):
        writer.write(parts[what])
        while True:
            writer.write(b"a")
            await writer.drain()
            await asyncio.sleep(0.02)

    site.routes["/"] = drip
    started = time.monotonic()
    with pytest.raises(WebError, match=r"took longer than 0\.5 seconds"):
        await web_to(site, robots=False, timeout=0.5).request("GET", site.url())
    assert 0.4 < time.monotonic() - started < 30


async def test_a_call_can_be_cancelled(site, web_to):
    come, gone = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    async def silent(_asked, writer):
        loop.call_soon_threadsafe(come.set)
        try:
            while True:
                writer.write(b"H")
                await writer.drain()
                await asyncio.sleep(0.01)
        except ConnectionError:
            loop.call_soon_threadsafe(gone.set)

    site.routes["/"] = silent
    call = asyncio.create_task(web_to(site, robots=False).request("GET", site.url()))
    await asyncio.wait_for(come.wait(), 60)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await asyncio.wait_for(gone.wait(), 60)


@pytest.mark.parametrize(
    "lines",
    [["X: " + "y" * 5000], ["Set-Cookie: a=b"] * 400, ["X: " + "y" * 500_000]],
    ids=["long", "many", "longer than the client reads"],
)
async def test_headers_that_are_too_large(site, web_to, reply, lines):
    site.routes["/"] = reply("hello", *lines)
    with pytest.raises(WebError, match=r"bytes of headers|headers are too large"):
        await web_to(site, robots=False, max_header_bytes="4k").request("GET", site.url())


@pytest.mark.parametrize(
    "answer",
    [b"", b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 abc\r\n\r\n", bytes(100)],
    ids=["nothing", "ssh", "bad", "zeros"],
)
async def test_what_is_not_http(site, web_to, answer):
    site.routes["/"] = answer
    with pytest.raises(WebError, match="not HTTP"):
        await web_to(site, robots=False).request("GET", site.url())


async def test_one_host_is_asked_at_its_pace(site, web_to, reply):
    site.routes["/"] = reply("hello")
    web = web_to(site, robots=False, rate=20, burst=2, cache=0)
    started = time.monotonic()
    await asyncio.gather(*(web.request("GET", site.url(f"/?{n}")) for n in range(8)))
    assert time.monotonic() - started >= 0.25  # Two at once, and six more at 20 a second.


async def test_the_pace_holds_across_threads_and_event_loops(site, web_to, reply):
    site.routes["/"] = reply("hello")
    web = web_to(site, robots=False, rate=20, burst=1, cache=0)
    started = time.monotonic()
    calls = [asyncio.to_thread(asyncio.run, web.request("GET", site.url(f"/?{n}"))) for n in range(5)]
    await asyncio.gather(*calls)
    assert time.monotonic() - started >= 0.15
    assert len(site.asked) == 5


async def test_waiting_for_the_pace_counts_as_time(site, web_to, reply):
    site.routes["/"] = reply("hello")
    web = web_to(site, robots=False, rate=0.01, burst=1)
    await web.request("GET", site.url())
    web.settings = web.settings.model_copy(update={"timeout": 0.3})
    with pytest.raises(WebError, match="took longer"):
        await web.request("GET", site.url("/?again"))
    assert site.paths == ["/"]
