"""A server that is away, or whose answers are lost: what is said of it, and what becomes of jobs and workers."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from types import SimpleNamespace

import pytest

from xagent_core import QueueUnavailableError, Worker, hookimpl
from xagent_core.queueing import scripts
from xagent_core.queueing.outages import Outages
from xagent_core.testing.queues.rig import Rig
from xagent_core.testing.queues.worker import fake_engine, program

AWAY = QueueUnavailableError("redis://a", "it does not answer")


@pytest.fixture
async def rig():
    async with Rig.made("docket", {"url": "memory://", "lease": 0.5}) as rig:
        yield rig


@pytest.fixture
def ended(rig):
    """The states of jobs whose end observers were told."""
    states = []
    hook = hookimpl(lambda job: states.append(job.state))
    rig.queue.plugins.add("told", "told", "0", lambda: SimpleNamespace(xagent_job_ended=hook))
    return states


def warnings(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def test_an_outage_is_told_once_and_its_end_once(caplog):
    outages = Outages("worker w")
    outages.worked("renewals")
    for asker in ("renewals", "sweeps", "renewals"):
        outages.failed(asker, AWAY)
    outages.worked("renewals")
    assert warnings(caplog) == ["worker w waits: redis://a: it does not answer"]
    outages.worked("sweeps")
    (back,) = warnings(caplog)[1:]
    assert re.fullmatch(r"worker w goes on: redis://a is back after \d+\.\d s", back)
    outages.failed("sweeps", AWAY)
    assert len(warnings(caplog)) == 3, "the next outage is another"


async def test_who_gives_up_leaves_no_outage_behind(caplog):
    outages, tries = Outages("worker w"), []

    async def fail():
        tries.append(1)
        raise AWAY

    with pytest.raises(QueueUnavailableError):
        await outages.insist(fail, unless=lambda: len(tries) == 3)
    outages.failed("renewals", AWAY)
    assert len(warnings(caplog)) == 2


@pytest.fixture
def lose_answers(rig, monkeypatch):
    """Has the books do what a script says, once, and keep the answer to themselves."""

    def lose(script):
        store, lost = rig.queue.books.store, []
        run = type(store).run

        async def run_and_lose(self, text, *arguments):
            answer = await run(self, text, *arguments)
            if text == script and not lost:
                lost.append(text)
                raise AWAY
            return answer

        monkeypatch.setattr(type(store), "run", run_and_lose)
        return lost

    return lose


@pytest.mark.parametrize("step", ["SUBMIT", "CLAIM", "APPEND", "END", "RETRY"])
async def test_an_answer_that_was_lost_is_asked_for_again(rig, ended, lose_answers, step):
    lost = lose_answers(getattr(scripts, step))
    async with rig.worker():
        told = program(pieces=["x"], fails="no" if step == "RETRY" else "", times=1)
        job = await rig.ended((await rig.submit(told, patience=60)).id)
    assert lost
    assert (job.state, job.attempt) == ("finished", 2 if step == "RETRY" else 1)
    assert ended == ["finished"]
    kinds = [event.kind for event in await rig.history(job.id)]
    assert kinds == ["queued", "started", *(["retry", "started"] if step == "RETRY" else []), "output", "ended"]
    depth = (await rig.queue.stats()).of()
    assert (depth.totals["submitted"], depth.totals["finished"], depth.running) == (1, 1, 0)


async def test_an_urgent_job_that_was_begun_in_place_of_another_is_begun_once(rig, ended, lose_answers):
    low, high = await rig.submit(queue="low"), await rig.submit(queue="high")
    books, lost = rig.queue.books, lose_answers(scripts.CLAIM)
    with pytest.raises(QueueUnavailableError):
        await books.claim(low.id, "worker", "token", urgent=["high"])
    again = await books.claim(low.id, "worker", "token", urgent=["high"])
    assert lost
    assert again is not None
    assert again.job.id == high.id
    assert (await rig.queue.job(low.id)).state == "queued"
    assert (await rig.queue.job(high.id)).attempt == 1


async def test_a_renewal_that_overtakes_the_answer_does_not_stop_what_has_ended(rig, ended, monkeypatch, caplog):
    finish = rig.queue.books.finish

    async def slowly(*arguments):
        answer = await finish(*arguments)
        await asyncio.sleep(rig.queue.config.lease)
        return answer

    monkeypatch.setattr(rig.queue.books, "finish", slowly)
    async with rig.worker():
        await rig.ended((await rig.submit()).id)
    assert ended == ["finished"]
    assert warnings(caplog) == []


@pytest.mark.parametrize("how", ["drained", "drained in a hurry"])
async def test_a_worker_ends_though_the_books_do_not_answer(rig, monkeypatch, tmp_path, how):
    engine, _ = fake_engine()
    async with engine, Worker(rig.queue, engine) as worker:
        # One ends and one runs while the server is away.
        over = await rig.submit(program(pieces=["x"], until=tmp_path / "away"))
        runs = await rig.submit(program(exit_code=None)) if how == "drained in a hurry" else over
        for job in (over, runs):
            await rig.until(job.id, lambda job: job.state == "running")

        async def away(*_arguments, **_options):
            raise AWAY

        monkeypatch.setattr(type(rig.queue.books.store), "run", away)
        (tmp_path / "away").touch()
        await asyncio.wait_for(worker.drain(None if how == "drained" else 0.5), 60)
        seconds = time.monotonic() - worker.last_sign
        assert how != "drained" or seconds > 2 * rig.queue.config.lease, "it has waited for the server"


async def test_a_job_that_was_claimed_while_its_worker_was_stopped_does_not_run(rig, monkeypatch):
    engine, backend = fake_engine()
    claim, claimed, stopped = rig.queue.books.claim, asyncio.Event(), asyncio.Event()

    async def slowly(*arguments, **options):
        answer = await claim(*arguments, **options)
        claimed.set()
        await stopped.wait()
        return answer

    monkeypatch.setattr(rig.queue.books, "claim", slowly)
    async with engine, Worker(rig.queue, engine) as worker:
        job = await rig.submit(program(exit_code=None))
        await claimed.wait()
        draining = asyncio.create_task(worker.drain())
        await asyncio.sleep(0)
        worker.stop()
        stopped.set()
        await asyncio.wait_for(draining, 20)
    job = await rig.queue.job(job.id)
    assert (job.state, job.failure.type, backend.jobs) == ("dead", "WorkerLostError", [])


async def test_a_bug_in_one_round_is_told_and_lost_jobs_are_found_in_the_next(rig, monkeypatch, caplog):
    job = await rig.submit(idempotent=True)
    await rig.queue.books.claim(job.id, "a worker that is gone", "token")
    lost = rig.queue.books.lost
    rounds = iter([ZeroDivisionError("a bug")])

    async def fail_once():
        for error in rounds:
            raise error
        return await lost()

    monkeypatch.setattr(rig.queue.books, "lost", fail_once)
    async with rig.worker():
        job = await rig.ended(job.id)
    assert (job.state, job.attempt) == ("finished", 2)
    (told,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "goes on after an unexpected error" in told.getMessage()
    assert isinstance(told.exc_info[1], ZeroDivisionError)
