"""A clock that jumps: limits of time, pools and reapers go by clocks that do not."""

import asyncio
import time

import pytest

from tests.backends import EACH_BACKEND
from xagent_core import Engine, PoolConfig

pytestmark = [pytest.mark.slow, pytest.mark.parametrize("backend", EACH_BACKEND)]

DAYS = 86400 * 30


@pytest.fixture
def jumping_clock(monkeypatch):
    """Each look at the wall clock finds it a month before or after the look before."""
    real, jumps = time.time, [0]

    def jumping() -> float:
        jumps[0] += 1
        return real() + (DAYS if jumps[0] % 2 else -DAYS)

    monkeypatch.setattr(time, "time", jumping)
    monkeypatch.setattr(time, "time_ns", lambda: int(jumping() * 1e9))
    return jumps


async def test_limits_of_time_hold(jumping_clock, backend):
    async with Engine(backend, pool=PoolConfig(ready=1)) as engine:
        quick = await engine.execute("print('quick')", timeout=20)
        assert (quick.status, quick.output) == ("success", "quick\n")
        started = time.monotonic()
        slow = await engine.execute("import time\nprint('slow', flush=True)\ntime.sleep(600)", timeout=4)
        assert (slow.status, slow.output) == ("timeout", "slow\n")
        assert 4 <= slow.execution_time < 60
        assert time.monotonic() - started < 100


async def test_a_reaper_and_a_pool_take_no_living_owners_sandboxes(jumping_clock, backend, monkeypatch):
    # One that has stood by for long is asked whether it lives, and may take its time to say so.
    monkeypatch.setattr("xagent_core.pool._PING_SECONDS", 30)
    async with (
        Engine(backend, pool=PoolConfig(ready=1), warm=["bash"]) as engine,
        Engine(backend, pool=PoolConfig(ready=0)) as neighbour,
    ):
        for _ in range(3):
            await neighbour.backend.reap()
            engine.pool.retire_idle()
        assert (engine.pool.stats().ready, engine.pool.stats().discarded) == (1, 0)

        running = asyncio.create_task(engine.execute("sleep 1; echo lived", language="bash"))
        await asyncio.sleep(0.3)
        await neighbour.backend.reap()
        assert (await running).output == "lived\n"
        assert engine.pool.stats().handed_out_ready == 1
