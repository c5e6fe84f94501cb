"""The streams of a sandbox: every byte in order, an end that stays one, and nobody who has to buffer without bound."""

from __future__ import annotations

import asyncio
import random
from typing import Final

import pytest

from xagent_core.engine import Engine
from xagent_core.errors import SandboxLostError
from xagent_core.testing.backends.common import PATIENCE, BackendSuite, new_mark, read_until, seen, started
from xagent_core.types import MIB

__all__ = ["StreamConformance"]

# Copies so many bytes of its input to both streams.
_PUMP: Final = """
import os, sys
left = int(sys.argv[1])
while left:
    data = os.read(0, 65536)
    left -= len(data)
    for stream in (sys.stdout, sys.stderr):
        stream.buffer.write(data)
        stream.flush()
"""
# What pipes, sockets and a daemon's own buffers may hold together, and far less than a program writes in a second.
_HELD: Final = 8 * MIB
_TOO_MUCH: Final = 64 * MIB
_UNREAD_SECONDS: Final = 1.0


class StreamConformance(BackendSuite, suite=True):
    """Tests of `send`, `receive` and `wait`."""

    async def test_every_byte_comes_through_both_streams(self, engine: Engine) -> None:
        """Large input becomes the same output, of all byte values, on both streams at once."""
        data = random.Random(1).randbytes(3 * MIB + 1)  # noqa: S311 - the same in each run
        async with started(engine, "python3", "-c", _PUMP, str(len(data)), cpus=2.0) as sandbox:
            sending = asyncio.create_task(sandbox.send(data))
            seen = await read_until(sandbox, lambda _: False)
            await sending
        assert {name: len(piece) for name, piece in seen.items()} == {"stdout": len(data), "stderr": len(data)}
        assert seen == {"stdout": data, "stderr": data}

    async def test_the_end_of_output_stays_and_tells_the_exit_code(self, engine: Engine) -> None:
        """`receive` gives None again and again; an exit code that is told is the first process's own."""
        async with started(engine, "sh", "-c", "echo out; echo err >&2; exit 7") as sandbox:
            assert await read_until(sandbox, lambda _: False) == {"stdout": b"out\n", "stderr": b"err\n"}
            assert [await sandbox.receive(), await sandbox.receive()] == [None, None]
            async with asyncio.timeout(PATIENCE):
                end = await sandbox.wait()
        assert end.exit_code in (7, None)
        assert not end.oom_killed

    async def test_output_before_an_end_at_once_is_not_lost(self, engine: Engine) -> None:
        """A process that ends as soon as it has started is heard."""
        for number in range(5):
            async with started(engine, "sh", "-c", f"echo {number}") as sandbox:
                assert (await read_until(sandbox, lambda _: False))["stdout"] == f"{number}\n".encode()

    async def test_what_nobody_fetches_holds_the_program_back(self, engine: Engine) -> None:
        """What is written while nobody reads stays in bounded buffers."""
        mark = new_mark()
        script = f"""
            (head -c 1 /dev/zero; : >/tmp/begun; while :; do head -c 65536 /dev/zero; done) &
            until [ -e /tmp/begun ]; do sleep 0.05; done
            sleep {_UNREAD_SECONDS}; kill -9 $!; echo stopped >&2
            sh -c 'sleep 1000; exit' $0-stopped"""
        async with started(engine, "sh", "-c", script, mark, cpus=1.0) as sandbox:
            # Whoever reads lets it go on: what runs when it has stopped is seen without that.
            assert await seen(f"{mark}-stopped", within=PATIENCE)
            told = await read_until(sandbox, lambda told: b"stopped\n" in told["stderr"])
        assert told["stdout"], "nothing was written: this test has seen nothing"
        assert len(told["stdout"]) < _HELD

    async def test_a_chatty_stream_does_not_hide_the_other(self, engine: Engine) -> None:
        """One line on stderr arrives beside an endless stdout."""
        chatty = "(while :; do echo chat; done) & sleep 0.2; echo here >&2; wait"
        async with started(engine, "sh", "-c", chatty) as sandbox:
            seen = await read_until(sandbox, lambda seen: b"\n" in seen["stderr"])
        assert seen["stderr"] == b"here\n"

    async def test_who_writes_waits_while_nobody_reads_and_learns_of_the_end(self, engine: Engine) -> None:
        """`send` has back-pressure; a kill wakes both who writes and who reads."""
        async with started(engine, "sh", "-c", "sleep 1000") as sandbox:
            reading = asyncio.create_task(sandbox.receive())
            writing = asyncio.create_task(sandbox.send(bytes(_TOO_MUCH)))
            await asyncio.sleep(0.5)
            assert not reading.done()
            assert not writing.done(), f"{_TOO_MUCH} bytes were taken that no process has read"
            await sandbox.kill()
            async with asyncio.timeout(PATIENCE):
                assert await reading is None
                with pytest.raises(SandboxLostError):
                    await writing
            with pytest.raises(SandboxLostError):
                await sandbox.send(b"more")

    async def test_a_receive_that_is_cancelled_loses_nothing(self, engine: Engine) -> None:
        """Whoever waits with a timeout may ask again."""
        script = "read -r go; for n in 1 2 3 4 5 6 7 8; do echo $n; sleep 0.05; done"
        seen = b""
        async with started(engine, "sh", "-c", script) as sandbox, asyncio.timeout(PATIENCE):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(sandbox.receive(), 0.01)
            await sandbox.send(b"go\n")
            while True:
                try:
                    piece = await asyncio.wait_for(sandbox.receive(), 0.01)
                except TimeoutError:
                    continue
                if piece is None:
                    break
                seen += piece[1]
        assert seen == b"1\n2\n3\n4\n5\n6\n7\n8\n"
