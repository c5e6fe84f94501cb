"""The fleet tells what it does, gives up where no worker can begin, and knows which workers are its own."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
import time
from types import SimpleNamespace

import pytest

from xagent_core import WorkerInfo, hookimpl
from xagent_core.queueing import fleet as module
from xagent_core.queueing.fleet import Fleet
from xagent_core.queueing.scaling import ScalingConfig

SLEEPS = "import time; time.sleep(600)"


@pytest.fixture
def told(rig):
    """The decisions that observers are told of."""
    seen = []

    def xagent_scaled(decision):
        seen.append(decision)

    rig.queue.plugins.add("told", "told", "0", lambda: SimpleNamespace(xagent_scaled=hookimpl(xagent_scaled)))
    return seen


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(module, "_SECONDS", 0.02)


def made(rig, source, *, least=1, most=1):
    """A fleet of processes that run a Python program."""
    config = ScalingConfig(least=least, most=most, slots=1, settle=0.0)
    return Fleet(rig.queue, [sys.executable, "-c", source], environment={}, names=["default"], config=config)


@contextlib.asynccontextmanager
async def running(fleet):
    stop = asyncio.Event()
    task = asyncio.create_task(fleet.run(stop, asyncio.Event()))
    try:
        yield task
    finally:
        stop.set()
        await task


async def until(check):
    async with asyncio.timeout(60):
        while not check():  # noqa: ASYNC110 - other processes' doing
            await asyncio.sleep(0.01)


async def sign_of_life(rig, *, host, pid):
    """A worker that is busy, in the books."""
    info = WorkerInfo(
        id=f"{host}-{pid}", host=host, pid=pid, queues=("default",), slots=1, busy=1, backend="fake", draining=False,
        started=time.time(),
    )  # fmt: skip
    await rig.queue.books.renew(info, [])


async def test_only_what_is_started_is_told(rig, told, tmp_path):
    starts = tmp_path / "starts"
    fleet = made(rig, f"open({str(starts)!r}, 'a').write('x'); raise SystemExit(1)")
    async with running(fleet):
        await until(lambda: starts.exists() and len(starts.read_text()) >= 3)
    # One for each start after the first; a fourth may begin before it is told to stop, and writes nothing then.
    assert {(decision.workers, decision.wanted) for decision in told} == {(0, 1)}
    assert 2 <= len(told) <= len(starts.read_text())


@pytest.mark.parametrize("status", [2, 125])
async def test_where_all_of_the_first_refuse_to_begin_it_ends_as_they_do(rig, status):
    async with asyncio.timeout(60):
        assert (
            await made(rig, f"raise SystemExit({status})", least=2, most=2).run(asyncio.Event(), asyncio.Event())
            == status
        )


async def test_where_a_worker_has_begun_those_that_refuse_are_replaced(rig, told, tmp_path):
    begun = tmp_path / "begun"
    source = f"import os, sys\nif os.path.exists({str(begun)!r}): sys.exit(125)\n{SLEEPS}"
    fleet = made(rig, source)
    async with running(fleet):
        await until(lambda: fleet.workers)
        (pid,) = fleet._working
        await sign_of_life(rig, host=socket.gethostname(), pid=pid)
        await until(lambda: fleet._begun)
        begun.touch()
        fleet._working[pid].kill()
        await until(lambda: len(told) >= 2)


@pytest.mark.parametrize(("host", "busy"), [(socket.gethostname(), 1), ("elsewhere", 0)], ids=["here", "elsewhere"])
async def test_a_worker_of_the_same_process_id_elsewhere_is_another(rig, told, host, busy):
    fleet = made(rig, SLEEPS, most=2)
    async with running(fleet):
        await until(lambda: fleet.workers)
        (pid,) = fleet._working
        await sign_of_life(rig, host=host, pid=pid)
        for _ in range(3):
            await rig.submit()
        await until(lambda: told)
    assert [(decision.wanted, decision.busy) for decision in told] == [(2, busy)]
