"""Who owns a sandbox: nothing outlives a dead owner, and nobody touches a living one's."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pickle
import subprocess
import sys
from collections.abc import AsyncIterator

import pytest

from xagent_core.abc.backend import SandboxSpec
from xagent_core.engine import Engine
from xagent_core.guest.script import guest_command
from xagent_core.testing.backends.common import (
    PATIENCE,
    BackendSource,
    BackendSuite,
    answers,
    gone,
    make_backend,
    new_mark,
    processes,
    seen,
    spec_of,
    started,
)

__all__ = ["OwnerConformance"]

# The guest needs tenths of a second; engines are asked to do better than the 10 s that anybody else would notice.
_SECONDS = 10.0


class OwnerConformance(BackendSuite, suite=True):
    """Tests of what the end of the owning process does, and of `reap`."""

    @pytest.mark.parametrize("state", ["idle", "busy"])
    async def test_a_sandbox_ends_when_its_owner_is_killed(
        self, engine: Engine, backend: BackendSource, state: str
    ) -> None:
        """Nobody else needs to be there to remove it."""
        mark = new_mark()
        # As an interpreter that stands by: it waits for its source, the pipe of that name; or it is at work.
        idle, busy = ("cat", mark), ("sh", "-c", "while :; do sleep 1000; done")
        work = busy if state == "busy" else idle
        guest = guest_command(source_name=mark, standby=work, keep_pipe=state == "busy")
        spec = spec_of(engine, *guest)
        async with owner_process(backend, spec) as owner:
            assert await seen(mark)
            await _end(owner)
            assert await gone(mark, within=_SECONDS), f"left: {processes(mark)}"

    async def test_the_reaper_takes_what_dead_owners_left_and_nothing_else(
        self, engine: Engine, backend: BackendSource
    ) -> None:
        """One whose first process does not notice its owner's end; those of two living owners stay."""
        dead, living = new_mark(), new_mark()
        deaf = ("sh", "-c", "while :; do sleep 1000; done")
        reaper = make_backend(backend)
        try:
            async with (
                started(engine) as own,
                owner_process(backend, spec_of(engine, *deaf, living)) as neighbour,
                owner_process(backend, spec_of(engine, *deaf, dead)) as owner,
            ):
                assert await seen(living)
                assert await seen(dead)
                await _end(owner)
                lines: list[str] = []
                end = asyncio.get_running_loop().time() + _SECONDS
                while True:
                    lines += await reaper.reap()
                    if not processes(dead) or asyncio.get_running_loop().time() > end:
                        break
                    await asyncio.sleep(0.1)
                assert not processes(dead), f"not reaped: {processes(dead)}"
                assert all(isinstance(line, str) and line for line in lines)
                assert processes(living), "the sandbox of an owner that lives was removed"
                assert neighbour.poll() is None
                assert await answers(own), "a sandbox of this process was removed"
        finally:
            await reaper.aclose()

    async def test_the_reaper_finds_nothing_where_nothing_was_left(self, engine: Engine) -> None:
        """Reaping twice is harmless: the second time says nothing of what the first has removed."""
        async with started(engine) as sandbox:
            first = await engine.backend.reap()
            second = await engine.backend.reap()
            assert not set(first) & set(second)
            assert not [line for line in first + second if sandbox.id in line]
            assert await answers(sandbox)


@contextlib.asynccontextmanager
async def owner_process(backend: BackendSource, spec: SandboxSpec) -> AsyncIterator[subprocess.Popen[bytes]]:
    """Another process, which owns a sandbox until it is ended."""
    command = [sys.executable, "-m", "xagent_core.testing.backends.owner"]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    # Not asyncio's: its `wait` goes on for as long as any other process has the output open.
    pipe = subprocess.PIPE
    process = await asyncio.to_thread(subprocess.Popen, command, stdin=pipe, stdout=pipe, env=env)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(pickle.dumps((backend, [spec])))
        process.stdin.flush()
        line = await asyncio.wait_for(asyncio.to_thread(process.stdout.readline), PATIENCE)
        assert line, "the other process has started no sandbox: see its output above"
        yield process
    finally:
        process.stdin.close()
        try:
            await asyncio.to_thread(process.wait, PATIENCE)
        except subprocess.TimeoutExpired:
            await _end(process)
        process.stdout.close()


async def _end(owner: subprocess.Popen[bytes]) -> None:
    owner.kill()
    await asyncio.to_thread(owner.wait)
