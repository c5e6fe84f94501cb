"""What goes wrong around a queue: its server is killed or away, a worker is lost with a real sandbox."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest

from xagent_core import QueueUnavailableError
from xagent_core.testing.queues.rig import Rig
from xagent_core.testing.queues.worker import LANGUAGE, program

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("queue faults")]

AWAY_SECONDS = 30.0


async def started(queue, job_id):
    """Waits until a job's program has written something."""
    async with asyncio.timeout(60):
        async for event in queue.events(job_id):
            if event.output is not None:
                return


async def until(check, seconds=60):
    """Waits until what an awaitable function says is true."""
    async with asyncio.timeout(seconds):
        while not await check():  # noqa: ASYNC110 - other processes' doing
            await asyncio.sleep(0.05)


def processes_with(word):
    """Ids of processes whose command line holds a word."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if word.encode() in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


@pytest.mark.engine("bubblewrap")
async def test_a_worker_killed_in_mid_task_is_replaced_and_its_sandbox_is_gone(redis, workers, open_queue):
    async with open_queue() as queue:
        doomed = workers.start()
        # It sleeps in its first attempt only: its idempotent work is done in the second.
        mark = f"orphan-{os.getpid()}-{time.time_ns()}"
        code = f"echo begun; exec -a {mark} sleep 600"
        job = await queue.submit(code, language="bash", timeout=900, idempotent=True)
        await started(queue, job.id)
        assert processes_with(mark)
        workers.start()
        await until(lambda: has_workers(queue, 2))
        doomed.kill()
        killed = time.time()

        async def again():
            return (await queue.job(job.id)).attempt == 2

        await until(again)
        job = await queue.job(job.id)
        assert job.started - killed < 15

        # The first sandbox is gone; the second attempt has one, once it has begun.
        async def begun_again():
            return any(event.output and event.attempt == 2 for event in await history(queue, job.id))

        await until(begun_again)
        second = processes_with(mark)
        assert len(second) == 1, "only the second attempt's sandbox is left"
        await queue.cancel(job.id)
        async for _ in queue.events(job.id):
            pass
        assert (await queue.job(job.id)).attempt == 2

        async def gone():
            return not processes_with(mark)

        await until(gone)


async def has_workers(queue, number):
    return len((await queue.stats()).workers) == number


async def history(queue, job_id):
    return [event async for event in queue.events(job_id, follow=False)]


async def test_no_job_is_lost_when_redis_is_killed_and_started_again(redis):
    async with Rig.made("docket", {"url": redis.url()}) as rig, rig.process(slots=2):
        jobs = [await rig.submit(program(pieces=["x"], pause=0.2)) for _ in range(30)]
        await rig.until(jobs[2].id, lambda job: job.over)
        redis.kill()
        await asyncio.sleep(1)
        redis.start()
        ended = [await rig.ended(job.id) for job in jobs]
        assert {(job.state, job.attempt) for job in ended} == {("finished", 1)}


async def test_redis_is_away_for_a_while(redis):
    async with Rig.made("docket", {"url": redis.url()}) as rig, rig.process(slots=2):
        running = await rig.submit(program(pieces=["x"] * 3, pause=2))
        await rig.until(running.id, lambda job: job.state == "running")
        redis.kill()
        gone = time.monotonic()
        with pytest.raises(QueueUnavailableError, match=r"does not answer.*Start it"):
            await rig.submit()
        assert time.monotonic() - gone < 15
        with pytest.raises(QueueUnavailableError):
            await rig.submit(patience=1)
        waiting = asyncio.create_task(rig.queue.submit(program(), language=LANGUAGE, patience=60))
        await asyncio.sleep(AWAY_SECONDS - (time.monotonic() - gone))
        assert not waiting.done()
        redis.start()
        # The worker comes back by itself, with what it ran meanwhile.
        assert (await rig.ended((await waiting).id)).state == "finished"
        job = await rig.ended(running.id)
        assert (job.state, job.attempt) == ("finished", 1)
        assert job.result.output == "xxx"


@pytest.mark.engine("bubblewrap")
async def test_a_burst_scales_the_workers_up_and_back_down(redis, workers, open_queue):
    async with open_queue() as queue:
        scaler = workers.start("--autoscale", "1:4", "--concurrency", "2", "--calm", "3")
        jobs = [await queue.submit("sleep 0.15", language="bash") for _ in range(500)]
        most = 0
        async with asyncio.timeout(280):
            while (stats := await queue.stats()).of().totals["finished"] < len(jobs):
                most = max(most, len(stats.workers))
                await asyncio.sleep(0.1)
            assert most == 4
            # Each drained and took itself off the list; nobody had to be killed.
            await until(lambda: has_workers(queue, 1), 200)
        ended = [await queue.job(job.id) for job in jobs]
        assert {(job.state, job.attempt) for job in ended} == {("finished", 1)}
        scaler.terminate()
        assert await asyncio.to_thread(scaler.wait, 30) == 0
        assert (await queue.stats()).workers == ()
