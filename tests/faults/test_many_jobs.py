"""Thousands of jobs, two workers, and a killer: every job ends exactly once in the books."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import logging
import os
import random
import time

import pytest

from xagent_core.testing.queues.rig import Rig
from xagent_core.testing.queues.worker import LANGUAGE, program

JOBS = int(os.environ.get("XAGENT_TEST_JOBS", "150"))
KILL_EVERY = float(os.environ.get("XAGENT_TEST_KILL_EVERY", "4"))


async def keep_killing(rig, stop, killed):
    """Two workers, one of which is killed from time to time and replaced."""
    chance = random.Random(7)

    async def one(place):
        while not stop.is_set():
            async with rig.process(slots=8) as process:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), chance.uniform(0.5, 1.5) * KILL_EVERY * (1 + place))
                if not stop.is_set():
                    process.kill()
                    killed.append(process.pid)

    await asyncio.gather(one(0), one(1))


@pytest.mark.slow
@pytest.mark.timeout(200 + JOBS)
async def test_every_job_ends_exactly_once_whatever_is_killed(redis):
    async with Rig.made("docket", {"url": redis.url(), "lease": 2.0}) as rig:
        stop, killed = asyncio.Event(), []
        killing = asyncio.create_task(keep_killing(rig, stop, killed))
        begun = time.monotonic()
        told = program(pieces=["x"], pause=0.02)
        ids = []
        for number in range(JOBS):
            # Every tenth must not run twice.
            job = await rig.queue.submit(told, language=LANGUAGE, idempotent=bool(number % 10), attempts=20)
            ids.append(job.id)
        while (depth := (await rig.queue.stats()).of()).totals["finished"] + depth.dead < JOBS:
            assert not killing.done(), killing.exception()
            await asyncio.sleep(0.2)
        seconds = time.monotonic() - begun
        stop.set()
        await killing

        jobs, histories = [], []
        for start in range(0, JOBS, 50):
            some = ids[start : start + 50]
            jobs += await asyncio.gather(*map(rig.queue.job, some))
            histories += await asyncio.gather(*map(rig.history, some))
        for number, (job, events) in enumerate(zip(jobs, histories, strict=True)):
            history = [event.kind for event in events]
            assert history.count("ended") == 1
            assert history.count("started") == job.attempt
            if job.state == "dead":
                assert number % 10 == 0, "only what must not run twice may be given up"
                assert (job.attempt, job.failure.type) == (1, "WorkerLostError")
            else:
                assert job.result.output == "x"
        states = collections.Counter(job.state for job in jobs)
        attempts = collections.Counter(job.attempt for job in jobs)
        totals = (await rig.queue.stats()).of().totals
        assert states["finished"] + states["dead"] == JOBS == totals["submitted"]
        assert totals["started"] == sum(job.attempt for job in jobs)
        assert killed
        assert max(attempts) > 1
        logging.getLogger(__name__).warning(
            "%d jobs in %.0f s, %d kills, %s, attempts %s", JOBS, seconds, len(killed), dict(states), dict(attempts)
        )
