"""Each sandbox is handed out once, callers come in turn, and nothing is left, whatever happens when."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xagent_core import PoolConfig, PoolTimeoutError, SandboxSpec, SandboxStartError, XAgentError
from xagent_core.abc.language import Packages
from xagent_core.pool import Pool
from xagent_core.testing.fakes import FakeBackend, FakeSandbox

SPEC = SandboxSpec(
    command=("sh",), language="python", image="", executables=(), packages=Packages(), env=(), memory=2**27, cpus=0.5,
    processes=64, scratch=2**20, scratch_exec=False,
)  # fmt: skip
OTHER = replace(SPEC, language="bash")
THIRD = replace(SPEC, language="go")


class Slow(FakeBackend):
    """A backend whose starts and kills take time, and fail when told to."""

    def __init__(self, *, start: float = 0.0, kill: float = 0.0) -> None:
        super().__init__()
        self.start_seconds = start
        self.kill_seconds = kill
        self.failing = 0
        self.most_alive = 0
        self.starts = 0

    async def start(self, spec: SandboxSpec) -> FakeSandbox:
        self.starts += 1
        await asyncio.sleep(self.start_seconds)
        if self.failing:
            self.failing -= 1
            raise SandboxStartError("slow", "it was told to fail")
        sandbox = await super().start(spec)
        self.most_alive = max(self.most_alive, len(self.alive))
        kill = sandbox.kill

        async def slow_kill() -> None:
            await asyncio.sleep(self.kill_seconds)
            await kill()

        sandbox.kill = slow_kill  # type: ignore[method-assign]
        return sandbox


@contextlib.asynccontextmanager
async def pool_of(backend: FakeBackend, **config) -> AsyncIterator[Pool]:
    pool = Pool(backend, PoolConfig(**config))
    try:
        yield pool
    finally:
        await pool.aclose()
        assert not backend.alive


async def settled(pool: Pool) -> None:
    """Waits until nothing is started or destroyed any more."""
    async with asyncio.timeout(30):
        while pool._tasks:
            await asyncio.wait(pool._tasks)
            await asyncio.sleep(0)


async def use(pool: Pool, spec: SandboxSpec = SPEC, seconds: float = 0.0) -> str:
    async with pool.sandbox(spec) as sandbox:
        await asyncio.sleep(seconds)
        return sandbox.id


async def test_a_sandbox_is_used_once_and_destroyed():
    backend = FakeBackend()
    async with pool_of(backend, ready=0) as pool:
        first, second = await use(pool), await use(pool)
        assert first != second
        await settled(pool)
        assert not backend.alive


async def test_the_next_one_stands_by():
    backend = FakeBackend()
    async with pool_of(backend, ready=2) as pool:
        await use(pool)
        await settled(pool)
        assert pool.stats().ready == 2
        await use(pool)
        assert (pool.stats().handed_out_cold, pool.stats().handed_out_ready) == (1, 1)


async def test_one_that_is_started_for_a_caller_may_differ_from_those_that_stand_by():
    cold = replace(SPEC, command=("cold",))
    async with pool_of(FakeBackend(), ready=1) as pool:
        async with pool.sandbox(SPEC, cold=cold) as sandbox:
            assert sandbox.spec == cold
        await settled(pool)
        async with pool.sandbox(SPEC, cold=cold) as sandbox:
            assert sandbox.spec == SPEC


async def test_a_pool_of_one_is_refilled_too():
    """The place of the sandbox that ran is free only when that one is gone."""
    backend = Slow(kill=0.01)
    async with pool_of(backend, ready=1, most=1) as pool:
        for _ in range(3):
            await use(pool)
            await settled(pool)
            assert pool.stats().ready == 1
        assert backend.most_alive == 1


async def test_two_ends_at_once_refill_no_more_than_configured():
    backend = Slow(start=0.001)
    async with pool_of(backend, ready=1, most=8) as pool:
        await asyncio.gather(use(pool), use(pool), use(pool))
        await settled(pool)
        assert pool.stats().ready == 1


async def test_warm_sandboxes_are_ready_when_it_returns():
    backend = Slow(start=0.01)
    async with pool_of(backend, ready=3) as pool:
        await pool.warm(SPEC)
        assert pool.stats().ready == 3
        await pool.warm(SPEC)
        assert backend.starts == 3


async def test_warm_waits_for_those_that_are_on_their_way():
    backend = Slow(start=0.01)
    async with pool_of(backend, ready=1) as pool:
        await asyncio.gather(pool.warm(SPEC), pool.warm(SPEC))
        assert pool.stats().ready == 1
        assert backend.starts == 1


async def test_warm_tells_why_it_cannot():
    backend = Slow()
    backend.failing = 1
    async with pool_of(backend, ready=1) as pool:
        with pytest.raises(SandboxStartError):
            await pool.warm(SPEC)


async def test_two_hundred_at_once_are_served_in_turn_and_never_more_than_four():
    backend = Slow(start=0.0001)
    order: list[int] = []

    async def job(number: int) -> None:
        async with pool.sandbox(SPEC):
            order.append(number)
            await asyncio.sleep(0.0001)

    async with pool_of(backend, ready=1, most=4) as pool:
        async with asyncio.TaskGroup() as group:
            for number in range(200):
                group.create_task(job(number))
                await asyncio.sleep(0)
        assert len(order) == 200
        assert backend.most_alive <= 4
        # Those that start at the same time may finish their start in another order.
        assert all(abs(place - number) < 4 for place, number in enumerate(order))


async def test_a_caller_waits_no_longer_than_configured():
    async with pool_of(FakeBackend(), most=1, ready=0, wait_seconds=0.02) as pool, pool.sandbox(SPEC):
        with pytest.raises(PoolTimeoutError, match=r"within 0\.02 s \(1 in use\).*pool\.most"):
            await use(pool)
        assert pool.stats().waiting == 0
    assert pool.stats().running == 0


async def test_one_who_gives_up_waiting_waits_no_more_whoever_is_before_him():
    async with pool_of(FakeBackend(), most=1, ready=0) as pool:
        async with pool.sandbox(SPEC):
            first, second = asyncio.create_task(use(pool)), asyncio.create_task(use(pool))
            await asyncio.sleep(0)
            assert pool.stats().waiting == 2
            second.cancel()
            await asyncio.wait([second])
            assert pool.stats().waiting == 1
        assert await first


async def test_after_a_timeout_the_place_is_there_for_the_next():
    async with pool_of(FakeBackend(), most=1, ready=0, wait_seconds=0.02) as pool:
        async with pool.sandbox(SPEC):
            with pytest.raises(PoolTimeoutError):
                await use(pool)
        await settled(pool)
        assert await use(pool)


async def test_ready_sandboxes_of_another_kind_make_room():
    backend = Slow(kill=0.005)
    async with pool_of(backend, most=2, ready=1) as pool:
        await pool.warm(SPEC)
        await pool.warm(OTHER)
        assert pool.stats().ready == 2
        async with pool.sandbox(THIRD) as sandbox:
            # The kind that was asked for first made room.
            assert [other.spec.language for other in backend.alive - {sandbox}] == ["bash"]
        assert backend.most_alive == 2


async def test_no_more_is_given_up_than_is_waited_for():
    backend = Slow(kill=0.01)
    async with pool_of(backend, most=4, ready=2) as pool:
        await pool.warm(SPEC)
        await pool.warm(OTHER)
        waiting = asyncio.create_task(use(pool, THIRD, 0.05))
        await asyncio.sleep(0)
        for _ in range(5):
            pool._dispatch()
        await asyncio.sleep(0)
        assert pool.stats().ending == 1
        assert pool.stats().ready == 3
        await waiting


async def test_a_caller_takes_the_one_that_is_on_its_way():
    backend = Slow(start=0.02)
    async with pool_of(backend, ready=1) as pool:
        filling = asyncio.create_task(pool.warm(SPEC))
        await asyncio.sleep(0.01)
        async with pool.sandbox(SPEC):
            assert backend.starts == 1
        await filling


async def test_a_caller_is_not_left_waiting_when_that_one_fails():
    backend = Slow(start=0.01)
    backend.failing = 1
    async with pool_of(backend, ready=1) as pool:
        filling = asyncio.create_task(pool.warm(SPEC))
        await asyncio.sleep(0.005)
        async with asyncio.timeout(30):
            assert await use(pool)
        with pytest.raises(SandboxStartError):
            await filling


async def test_a_start_that_fails_gives_its_place_back_and_is_not_tried_for_ever(caplog):
    backend = Slow()
    async with pool_of(backend, most=1, ready=1) as pool:
        backend.failing = 3
        for _ in range(3):
            with pytest.raises(SandboxStartError):
                await use(pool)
        assert await use(pool)
        await settled(pool)
        assert pool.stats().ready == 1
        backend.failing = 1
        await use(pool)
        with caplog.at_level(logging.WARNING):
            await settled(pool)
        assert "could not be started ahead: slow: it was told to fail" in caplog.text
        starts = backend.starts
        await asyncio.sleep(0.02)
        assert backend.starts == starts
        assert await use(pool)


async def test_as_many_stand_by_as_callers_missed_up_to_the_most_and_fewer_again_with_time(monkeypatch):
    async with pool_of(Slow(), ready=1, ready_most=3, most=9, idle_seconds=100, refills=9) as pool:
        await pool.warm(SPEC)
        assert pool.stats().ready == 1
        await asyncio.gather(*(use(pool, seconds=0.01) for _ in range(5)))
        await settled(pool)
        assert pool.stats().ready == 3
        clock = time.monotonic()
        for minutes, ready in ((2, 2), (4, 1), (6, 1)):
            monkeypatch.setattr(time, "monotonic", lambda now=clock + 60 * minutes: now)
            next(iter(pool._shelves.values())).used = time.monotonic()
            pool.retire_idle()
            assert pool.stats().ready == ready
        monkeypatch.undo()


async def test_an_observer_is_told_of_each_change_until_all_are_gone():
    told = []
    pool = Pool(Slow(), PoolConfig(ready=1), observer=told.append)
    await use(pool)
    await settled(pool)
    assert {(stats.ready, stats.running, stats.handed_out_cold) for stats in told} >= {(0, 1, 1), (1, 0, 1)}
    assert told[-1] == pool.stats()
    await pool.aclose()
    await asyncio.sleep(0)
    assert (told[-1].ready, told[-1].ending, told[-1].discarded) == (0, 0, 2)


async def test_idle_kinds_are_retired_and_stay_so(pass_time):
    backend = FakeBackend()
    async with pool_of(backend, ready=1, idle_seconds=100) as pool:
        await pool.warm(SPEC)
        pool.retire_idle()
        assert pool.stats().ready == 1
        pass_time(101)
        pool.retire_idle()
        await settled(pool)
        assert pool.stats().ready == 0
        assert not backend.alive
        assert await use(pool)


async def test_one_that_died_while_it_stood_by_is_not_handed_out(monkeypatch):
    monkeypatch.setattr("xagent_core.pool._TRUSTED_SECONDS", 0)
    backend = FakeBackend()
    async with pool_of(backend, ready=1, most=1) as pool:
        await pool.warm(SPEC)
        (dead,) = backend.alive
        await dead.kill()
        async with pool.sandbox(SPEC) as sandbox:
            assert sandbox is not dead
            assert pool.stats().handed_out_cold == 1
        assert pool.stats().running == 0


async def test_one_that_still_answers_is_handed_out(monkeypatch):
    monkeypatch.setattr("xagent_core.pool._TRUSTED_SECONDS", 0)
    monkeypatch.setattr("xagent_core.pool._PING_SECONDS", 30)
    async with pool_of(FakeBackend(), ready=1) as pool:
        await pool.warm(SPEC)
        await use(pool)
        assert pool.stats().handed_out_ready == 1


async def test_one_that_hangs_costs_a_second_and_no_more(monkeypatch):
    monkeypatch.setattr("xagent_core.pool._TRUSTED_SECONDS", 0)
    monkeypatch.setattr("xagent_core.pool._PING_SECONDS", 0.01)
    backend = FakeBackend()
    async with pool_of(backend, ready=1) as pool:
        await pool.warm(SPEC)
        (hung,) = backend.alive

        async def never(data: bytes) -> None:
            await asyncio.sleep(3600)

        hung.send = never  # type: ignore[method-assign]
        assert await use(pool) != hung.id


async def test_a_kill_that_fails_is_logged_and_frees_the_place(caplog):
    backend = FakeBackend()
    async with pool_of(backend, ready=0, most=1) as pool:
        async with pool.sandbox(SPEC) as sandbox:
            kill = sandbox.kill

            async def failing() -> None:
                await kill()
                raise XAgentError("fake", "it cannot be removed")

            sandbox.kill = failing  # type: ignore[method-assign]
        assert await use(pool)
    assert "the reaper will: fake: it cannot be removed" in caplog.text


async def test_closing_ends_what_is_starting_running_and_waiting():
    backend = Slow(start=0.02, kill=0.005)
    pool = Pool(backend, PoolConfig(ready=1, most=2, refills=2))
    async with pool.sandbox(SPEC):
        starting = asyncio.create_task(use(pool, OTHER))
        waiting = asyncio.create_task(use(pool, THIRD))
        await asyncio.sleep(0.01)
        await pool.aclose()
        assert not backend.alive
        for task in (starting, waiting):
            with pytest.raises(XAgentError, match="closed"):
                await task
    assert not backend.alive
    await pool.aclose()
    with pytest.raises(XAgentError, match="closed"):
        await use(pool)


async def use_cancelled_at(pool: Pool, step: int) -> bool:
    """Uses a sandbox and is cancelled at that step; False when it ended before."""
    task = asyncio.create_task(use(pool))
    for _ in range(step):
        await asyncio.sleep(0)
        if task.done():
            await asyncio.gather(task, return_exceptions=True)
            return False
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return True


async def nothing_yet(pool: Pool, backend: Slow) -> None:
    """The sandbox is started for its caller."""


async def one_is_ready(pool: Pool, backend: Slow) -> None:
    await pool.warm(SPEC)


async def the_ready_one_is_dead(pool: Pool, backend: Slow) -> None:
    await pool.warm(SPEC)
    await next(iter(backend.alive)).kill()


async def another_kind_is_ready(pool: Pool, backend: Slow) -> None:
    await pool.warm(OTHER)
    await pool.warm(THIRD)


async def one_is_on_its_way(pool: Pool, backend: Slow) -> None:
    filling = asyncio.create_task(pool.warm(SPEC))
    await asyncio.sleep(0)
    filling.add_done_callback(lambda _: None)


async def the_start_fails(pool: Pool, backend: Slow) -> None:
    backend.failing = 1


async def all_places_are_taken_for_a_while(pool: Pool, backend: Slow) -> None:
    async def hold() -> None:
        async with pool.sandbox(OTHER):
            for _ in range(5):
                await asyncio.sleep(0)

    pool._spawn(hold())
    pool._spawn(hold())
    await asyncio.sleep(0)


@pytest.mark.parametrize("trusted_seconds", [0, 5])
@pytest.mark.parametrize(
    "situation",
    [
        nothing_yet, one_is_ready, the_ready_one_is_dead, another_kind_is_ready, one_is_on_its_way, the_start_fails,
        all_places_are_taken_for_a_while,
    ],
)  # fmt: skip
async def test_a_cancellation_at_any_step_leaves_no_sandbox_and_loses_no_place(situation, trusted_seconds, monkeypatch):
    monkeypatch.setattr("xagent_core.pool._TRUSTED_SECONDS", trusted_seconds)
    cancelled, step = True, 0
    while cancelled:
        backend = Slow()
        async with pool_of(backend, ready=1, most=2, wait_seconds=30) as pool:
            await situation(pool, backend)
            cancelled = await use_cancelled_at(pool, step)
            backend.failing = 0
            await settled(pool)
            # All places are there again: as many as ever can be in use at once.
            async with asyncio.timeout(30), pool.sandbox(SPEC), pool.sandbox(OTHER):
                assert pool.stats().running == 2
            await settled(pool)
            assert pool._places + pool.stats().ready == 2
            assert backend.most_alive <= 2
        step += 1
    assert step > 2


async def test_cancelling_the_closing_and_closing_again_leaves_nothing():
    backend = Slow(start=0.005, kill=0.005)
    pool = Pool(backend, PoolConfig(ready=2, most=4))
    await pool.warm(SPEC)
    closing = asyncio.create_task(pool.aclose())
    await asyncio.sleep(0)
    closing.cancel()
    await asyncio.gather(closing, return_exceptions=True)
    await pool.aclose()
    assert not backend.alive


callers = st.lists(
    st.tuples(
        st.sampled_from([SPEC, OTHER, THIRD]),
        st.integers(0, 20),  # arrives
        st.integers(0, 10),  # runs for
        st.none() | st.integers(0, 25),  # is cancelled
    ),
    max_size=25,
)


@settings(max_examples=60, deadline=None)
@given(
    callers=callers,
    most=st.integers(1, 4),
    ready=st.integers(0, 3),
    refills=st.integers(1, 3),
    failing=st.integers(0, 4),
    seed=st.integers(),
)
def test_any_schedule_hands_each_sandbox_out_once_and_leaves_none(callers, most, ready, refills, failing, seed):
    async def run() -> None:
        ticks = random.Random(seed)
        backend = Slow()

        async def wait_ticks(count: int) -> None:
            for _ in range(count):
                await asyncio.sleep(0)

        start = backend.start

        async def uneven_start(spec: SandboxSpec) -> FakeSandbox:
            await wait_ticks(ticks.randrange(12))
            return await start(spec)

        backend.start = uneven_start  # type: ignore[method-assign]
        backend.failing = failing
        handed_out: list[str] = []
        inside = 0

        async def caller(spec: SandboxSpec, arrives: int, runs: int) -> None:
            nonlocal inside
            await wait_ticks(arrives)
            async with pool.sandbox(spec) as sandbox:
                assert sandbox in backend.alive
                assert sandbox.spec == spec
                handed_out.append(sandbox.id)
                inside += 1
                assert inside <= most
                try:
                    await wait_ticks(runs)
                finally:
                    inside -= 1

        async with pool_of(backend, most=most, ready=ready, refills=refills, wait_seconds=60) as pool:
            tasks = []
            for spec, arrives, runs, cancelled in callers:
                task = asyncio.create_task(caller(spec, arrives, runs))
                tasks.append(task)
                if cancelled is not None:
                    asyncio.create_task(wait_ticks(cancelled)).add_done_callback(lambda _, t=task: t.cancel())
            async with asyncio.timeout(30):
                ends = await asyncio.gather(*tasks, return_exceptions=True)
            assert all(end is None or isinstance(end, SandboxStartError | asyncio.CancelledError) for end in ends), ends
            await settled(pool)
            stats = pool.stats()
            assert stats.running == stats.waiting == 0
            assert pool._places + stats.ready == most
        assert len(set(handed_out)) == len(handed_out)
        assert backend.most_alive <= most

    asyncio.run(run())
