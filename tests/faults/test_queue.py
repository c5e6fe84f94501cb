"""What goes wrong around a queue: its server is killed or away, a worker or its scaler is lost with a real sandbox."""

from __future__ import annotations

import asyncio
import os
import re
import time
from pathlib import Path

import pytest

from xagent_core import QueueUnavailableError
from xagent_core.testing.queues.rig import Rig
from xagent_core.testing.queues.worker import program

pytestmark = [pytest.mark.slow]

# Both come back by themselves, however long it takes; half a minute is shown with one of them.
AWAY_SECONDS = {"docket": 30.0, "celery": 8.0}
BURST = {"docket": 500, "celery": 150}


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


def is_there(pid):
    return Path(f"/proc/{pid}").exists()


async def has_workers(queue, number):
    return len((await queue.stats()).workers) == number


@pytest.mark.engine("bubblewrap")
async def test_a_worker_killed_in_mid_task_is_replaced_and_its_sandbox_is_gone(queue, workers):
    doomed = workers.start()
    mark = f"orphan-{os.getpid()}-{time.time_ns()}"
    code = f"echo begun; exec -a {mark} sleep 600"
    job = await queue.submit(code, language="bash", timeout=900, idempotent=True)
    await started(queue, job.id)

    async def is_asleep():
        return bool(processes_with(mark))

    await until(is_asleep)  # which it says a moment before
    first = processes_with(mark)
    for attempt in (2, 3):  # the third only where this machine has paused for seconds
        other = workers.start()
        await until(lambda: has_workers(queue, 2))
        doomed.kill()
        killed = time.time()

        async def again(attempt=attempt):
            return (await queue.job(job.id)).attempt == attempt

        await until(again)
        doomed = other
        if (redelivered := (await queue.job(job.id)).started - killed) < 15:
            break
    assert redelivered < 15

    # The first sandbox is gone; the last attempt has one, once it has begun.
    async def is_asleep_again():
        return bool(set(processes_with(mark)) - set(first))

    await until(is_asleep_again)
    second = processes_with(mark)
    assert len(second) == 1, "only the last attempt's sandbox is left"
    await queue.cancel(job.id)
    async for _ in queue.events(job.id):
        pass
    assert (await queue.job(job.id)).attempt == attempt

    async def gone():
        return not processes_with(mark)

    await until(gone)


async def test_no_job_is_lost_when_redis_is_killed_and_started_again(carried, redis):
    async with Rig.made(carried, {"url": redis.url(), "resend": 5.0}) as rig, rig.process(slots=2):
        jobs = [await rig.submit(program(pieces=["x"], pause=0.2)) for _ in range(30)]
        await rig.until(jobs[2].id, lambda job: job.over)
        redis.kill()
        await asyncio.sleep(1)
        redis.start()
        ended = [await rig.ended(job.id) for job in jobs]
        assert {(job.state, job.attempt) for job in ended} == {("finished", 1)}


@pytest.mark.engine("bubblewrap")
async def test_redis_is_away_for_a_while(carried, redis, queue, workers):
    workers.start("--concurrency", "2")
    running = await queue.submit("for i in 1 2 3; do sleep 2; printf x; done", language="bash")
    await until(lambda: has_started(queue, running.id))
    redis.kill()
    gone = time.monotonic()
    with pytest.raises(QueueUnavailableError, match=r"does not answer.*Start it"):
        await queue.submit("true", language="bash")
    assert time.monotonic() - gone < 30
    with pytest.raises(QueueUnavailableError):
        await queue.submit("true", language="bash", patience=1)
    waiting = asyncio.create_task(queue.submit("true", language="bash", patience=60))
    await asyncio.sleep(AWAY_SECONDS[carried] - (time.monotonic() - gone))
    assert not waiting.done()
    redis.start()
    # The worker comes back by itself, with what it ran meanwhile.
    assert (await queue.result((await waiting).id, timeout=60)).exit_code == 0
    assert (await queue.result(running.id, timeout=60)).output == "xxx"
    assert (await queue.job(running.id)).attempt == 1

    # It has said so once, and that it is back; and nothing twice.
    async def said():
        return " goes on: " in workers.log.read_text()

    await until(said)
    log = workers.log.read_text()
    lines = [line.partition(" ")[2] for line in re.findall(r"(?m)^\S+ \S+ (?:WARNING|ERROR|CRITICAL) .*", log)]
    assert len(lines) == len({re.sub("^[0-9:,]+", "", line) for line in lines}), log
    assert [log.count(words) for words in (" waits: ", " goes on: ", "Traceback")] == [1, 1, 0], log


async def has_started(queue, job_id):
    return (await queue.job(job_id)).state == "running"


@pytest.mark.engine("bubblewrap")
@pytest.mark.parametrize(("server", "lease"), [("up", 8.0), ("away", 2.0)], ids=["up", "away"])
async def test_workers_end_by_themselves_when_their_scaler_is_killed(redis, queue, workers, server):
    scaler = workers.start("--autoscale", "2:2", "--concurrency", "1")
    pids = []

    async def both_are_there():
        pids[:] = [worker.pid for worker in (await queue.stats()).workers]
        return len(pids) == 2

    await until(both_are_there)
    job = await queue.submit("echo begun; sleep 2", language="bash")
    await started(queue, job.id)
    if server == "away":
        redis.kill()
    scaler.kill()
    await asyncio.to_thread(scaler.wait)

    async def ended():
        return not any(map(is_there, pids))

    await until(ended)
    if server == "up":
        assert (await queue.result(job.id, timeout=60)).output == "begun\n"
        assert (await queue.stats()).workers == ()


@pytest.mark.engine("bubblewrap")
async def test_a_burst_scales_the_workers_up_and_back_down(carried, queue, workers):
    scaler = workers.start("--autoscale", "1:4", "--concurrency", "2", "--calm", "2")
    jobs = [await queue.submit("sleep 0.15", language="bash") for _ in range(BURST[carried])]
    most = 0
    async with asyncio.timeout(280):
        while (stats := await queue.stats()).of().totals["finished"] < len(jobs) or most < 4:
            most = max(most, len(stats.workers))
            if most < 4 and stats.of().waiting < 20:  # the burst lasts until all have had the time to begin
                jobs += [await queue.submit("sleep 0.15", language="bash") for _ in range(50)]
            await asyncio.sleep(0.1)
        assert most == 4
        # Each drained and took itself off the list; nobody had to be killed.
        await until(lambda: has_workers(queue, 1), 200)
    ended = [await queue.job(job.id) for job in jobs]
    assert {(job.state, job.attempt) for job in ended} == {("finished", 1)}
    scaler.terminate()
    assert await asyncio.to_thread(scaler.wait, 30) == 0
    assert (await queue.stats()).workers == ()
