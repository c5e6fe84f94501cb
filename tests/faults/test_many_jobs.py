"""Thousands of jobs, two workers, and a killer: every job ends exactly once in the books."""

from __future__ import annotations

import asyncio
import collections
import logging
import os
import random
import time

import pytest

from xagent_core.testing.queues.rig import Rig
from xagent_core.testing.queues.worker import LANGUAGE, program

# docs/queues.md says what came of them.
JOBS = int(os.environ.get("XAGENT_TEST_JOBS", "5000"))


async def ended_jobs(rig):
    depth = (await rig.queue.stats()).of()
    return depth.totals["finished"] + depth.dead


async def keep_killing(rig, jobs, killed, *, every):
    """Two workers, each of which is killed when so many more jobs have ended, and replaced, until all have."""
    chance = random.Random(7)

    async def one(place):
        while await ended_jobs(rig) < jobs:
            async with rig.process(slots=8) as process:
                ended = await ended_jobs(rig)
                until = ended + int(chance.uniform(0.5, 1.5) * every * (1 + place))
                while ended < min(until, jobs):
                    await asyncio.sleep(0.05)
                    ended = await ended_jobs(rig)
                if ended < jobs:
                    process.kill()
                    killed.append(process.pid)

    await asyncio.gather(one(0), one(1))


@pytest.mark.slow
@pytest.mark.timeout(200 + JOBS)
async def test_every_job_ends_exactly_once_whatever_is_killed(carried, redis):
    # Messages that a killed worker had taken and not begun come again after `resend`, or by docket itself.
    async with Rig.made(carried, {"url": redis.url(), "lease": 2.0, "resend": 2.0}) as rig:
        begun = time.monotonic()
        told = program(pieces=["x"], pause=0.02)
        ids, killed, attempted = [], [], 0
        # Again where this process was paused for so long that nothing was killed in time.
        while not killed or attempted <= len(ids):
            for number in range(JOBS):
                # Every tenth must not run twice.
                job = await rig.queue.submit(told, language=LANGUAGE, idempotent=bool(number % 10), attempts=20)
                ids.append(job.id)
            await keep_killing(rig, len(ids), killed, every=max(15, JOBS // 20))
            attempted = (await rig.queue.stats()).of().totals["started"]
        seconds = time.monotonic() - begun

        jobs, histories = [], []
        for start in range(0, len(ids), 50):
            some = ids[start : start + 50]
            jobs += await asyncio.gather(*map(rig.queue.job, some))
            histories += await asyncio.gather(*map(rig.history, some))
        for number, (job, events) in enumerate(zip(jobs, histories, strict=True)):
            history = [event.kind for event in events]
            assert history.count("ended") == 1
            assert history.count("started") == job.attempt
            if job.state == "dead":
                assert number % JOBS % 10 == 0, "only what must not run twice may be given up"
                assert (job.attempt, job.failure.type) == (1, "WorkerLostError")
            else:
                assert job.result.output == "x"
        states = collections.Counter(job.state for job in jobs)
        attempts = collections.Counter(job.attempt for job in jobs)
        totals = (await rig.queue.stats()).of().totals
        assert states["finished"] + states["dead"] == len(ids) == totals["submitted"]
        assert totals["started"] == sum(job.attempt for job in jobs)
        assert killed
        assert max(attempts) > 1
        logging.getLogger(__name__).warning(
            "%s: %d jobs in %.0f s, %d kills, %s, attempts %s",
            *(carried, len(ids), seconds, len(killed), dict(states), dict(attempts)),
        )
