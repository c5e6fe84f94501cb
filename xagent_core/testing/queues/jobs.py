"""The part of a queue's suite in which nothing goes wrong: jobs, results, events, order."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from xagent_core.errors import InvalidRequestError, JobCancelledError, JobNotFoundError
from xagent_core.testing.queues.rig import Rig
from xagent_core.testing.queues.worker import LANGUAGE, program
from xagent_core.testing.suite import Conformance
from xagent_core.types import InputFile, Limits

__all__ = ["Jobs"]


class Jobs(Conformance, suite=True):
    """Submitting, following, fetching, cancelling."""

    async def test_a_job_has_the_result_of_its_program(self, rig: Rig) -> None:
        async with rig.worker():
            job = await rig.submit(program(pieces=["hello\n"], files={"out.bin": "data"}), collect=["out.bin"])
            assert (job.attempt, job.result) == (0, None) or job.attempt == 1
            result = await rig.queue.result(job.id, timeout=60)
        assert (result.status, result.output, result.backend) == ("success", "hello\n", "fake")
        assert [(file.path, file.content) for file in result.files] == [("out.bin", b"data")]

    async def test_all_of_a_request_arrives(self, rig: Rig) -> None:
        files = [InputFile("raw.bin", bytes(range(256)))]
        async with rig.worker() as backend:
            job = await rig.queue.submit(
                program(),
                language=LANGUAGE,
                stdin=b"\xff\0in",
                args=("--flag", "\udcff"),
                env={"NAME": "ü"},
                files=files,
                limits=Limits(memory=2**28),
            )
            await rig.ended(job.id)
        (ran,) = backend.jobs
        assert (ran.stdin, dict(ran.files)["raw.bin"], ran.spec.memory) == (b"\xff\0in", bytes(range(256)), 2**28)
        assert dict(ran.env)["NAME"] == "ü"
        assert ran.argv[-2:] == ("--flag", "\udcff")

    async def test_a_program_that_fails_is_a_result_and_is_not_run_again(self, rig: Rig) -> None:
        async with rig.worker():
            job = await rig.submit(program(pieces=["oh no"], exit_code=3), idempotent=True)
            result = await rig.queue.result(job.id, timeout=60)
        assert (result.status, result.exit_code, result.output) == ("error", 3, "oh no")
        assert (await rig.queue.job(job.id)).attempt == 1

    async def test_events_come_while_it_runs_and_can_be_resumed(self, rig: Rig, tmp_path: Path) -> None:
        async with rig.worker():
            job = await rig.submit(program(pieces=["one\n", "two\n", "three\n"], pause=0.1, until=tmp_path / "seen"))
            first = []
            async for event in rig.queue.events(job.id):
                first.append(event)
                if event.output is not None:
                    break
            assert (await rig.queue.job(job.id)).state == "running"
            (tmp_path / "seen").touch()
            rest = [event async for event in rig.queue.events(job.id, after=first[-1].sequence)]
        events = [*first, *rest]
        assert [event.sequence for event in events] == list(range(1, len(events) + 1))
        assert [event.kind for event in events if event.output is None] == ["queued", "started", "ended"]
        assert "".join(event.output.data for event in events if event.output) == "one\ntwo\nthree\n"
        assert await rig.history(job.id) == events

    async def test_where_a_job_stands(self, rig: Rig) -> None:
        job = await rig.submit(program(exit_code=None), headers={"trace": "abc"})
        assert (job.state, job.attempt, job.worker, job.headers) == ("queued", 0, None, {"trace": "abc"})
        async with rig.worker():
            job = await rig.until(job.id, lambda job: job.state == "running")
            assert (job.attempt, job.headers) == (1, {"trace": "abc"})
            assert job.worker in {worker.id for worker in await rig.workers()}
            await rig.queue.cancel(job.id)
            assert (await rig.ended(job.id)).state == "cancelled"

    async def test_a_job_that_waits_and_is_cancelled_never_starts(self, rig: Rig) -> None:
        job = await rig.submit()
        assert (await rig.queue.cancel(job.id)).state == "cancelled"
        async with rig.worker() as backend:
            await rig.ended((await rig.submit()).id)
            assert len(backend.jobs) == 1
        with pytest.raises(JobCancelledError):
            await rig.queue.result(job.id, timeout=60)

    async def test_cancelling_a_job_that_runs_kills_its_sandbox(self, rig: Rig) -> None:
        async with rig.worker(slots=1) as backend:
            job = await rig.submit(program(pieces=["begun"], exit_code=None))
            await rig.cancel_running(job.id, backend)
            # Its output stays, and its slot is free.
            assert "begun" in [event.output.data for event in await rig.history(job.id) if event.output]
            assert (await rig.queue.result((await rig.submit()).id, timeout=60)).ok
            assert (await rig.queue.cancel(job.id)).state == "cancelled"

    async def test_a_job_starts_no_earlier_than_asked(self, rig: Rig) -> None:
        async with rig.worker():
            never, late = await rig.submit(delay=600.0), await rig.submit(delay=1.0)
            soon = await rig.submit()
            assert (await rig.ended(soon.id)).state == "finished"
            late = await rig.ended(late.id)
            assert (await rig.queue.job(never.id)).state == "queued"
            assert (await rig.queue.stats()).of().delayed == 1
        assert late.started is not None
        assert late.started - late.created >= 1.0

    async def test_the_urgent_queue_goes_first(self, rig: Rig, tmp_path: Path) -> None:
        for _ in range(4):
            await rig.submit(program(until=tmp_path / "go on"), queue="low")
        urgent = [await rig.submit(queue="high") for _ in range(2)]
        other = await rig.submit(queue="other")
        async with rig.worker(slots=1, queues=("high", "low")):
            low = await rig.queue.jobs(queue="low")
            await rig.until(urgent[-1].id, lambda job: job.over)
            # What comes while a less urgent one runs waits for this one alone.
            await _until_so_many_run(rig, 1, queue="low")
            urgent += [await rig.submit(queue="high") for _ in range(2)]
            (tmp_path / "go on").touch()
            ended = [await rig.ended(job.id) for job in (*urgent, *low)]
            assert (await rig.queue.job(other.id)).state == "queued"
        assert {(job.state, job.attempt) for job in ended} == {("finished", 1)}
        order = [job.queue for job in sorted(ended, key=lambda job: job.started or 0.0)]
        assert order == ["high", "high", "low", "high", "high", "low", "low", "low"]

    async def test_no_more_run_than_there_are_slots(self, rig: Rig, tmp_path: Path) -> None:
        jobs = [await rig.submit(program(pieces=["x"], pause=0.1, until=tmp_path / "go on")) for _ in range(9)]
        busiest = 0
        async with rig.worker(slots=3):
            await _until_so_many_run(rig, 3)
            await asyncio.sleep(0.2)  # in which a fourth would begin
            busiest = (await rig.queue.stats()).of().running
            (tmp_path / "go on").touch()
            while not all([(await rig.queue.job(job.id)).over for job in jobs]):
                busiest = max(busiest, (await rig.queue.stats()).of().running)
                await asyncio.sleep(0.01)
        assert busiest == 3

    async def test_workers_share_the_work(self, rig: Rig, tmp_path: Path) -> None:
        async with rig.worker(slots=1) as one, rig.worker(slots=1) as other:
            for turn in range(4):
                jobs = [await rig.submit(program(until=tmp_path / f"{turn}")) for _ in range(2)]
                await _until_so_many_run(rig, 2)
                (tmp_path / f"{turn}").touch()
                assert {(await rig.ended(job.id)).attempt for job in jobs} == {1}
        assert (len(one.jobs), len(other.jobs)) == (4, 4)

    async def test_a_busy_worker_leaves_the_messages_of_all_its_queues_to_an_idle_one(self, rig: Rig) -> None:
        queues = ("high", "low")
        async with rig.worker(slots=1, queues=queues), rig.worker(slots=1, queues=queues):
            endless = await rig.submit(program(exit_code=None), queue="high")
            await _until_so_many_run(rig, 1, queue="high")
            try:
                async with asyncio.timeout(20):  # less than after which a lost message is sent again
                    for _ in range(8):
                        await rig.ended((await rig.submit(queue="low")).id)
            finally:
                await rig.queue.cancel(endless.id)

    async def test_a_key_is_one_job_however_often_it_is_submitted(self, rig: Rig) -> None:
        async with rig.worker() as backend:
            jobs = await asyncio.gather(*(rig.submit(program(pieces=["x"]), key="order-17") for _ in range(8)))
            await rig.ended(jobs[0].id)
            again = await rig.submit(program(pieces=["x"]), key="order-17")
            assert len({job.id for job in (*jobs, again)}) == 1
            with pytest.raises(InvalidRequestError, match="has it, with another request"):
                await rig.submit(program(pieces=["y"]), key="order-17")
        assert len(backend.jobs) == 1

    async def test_a_message_that_comes_twice_changes_nothing(self, rig: Rig) -> None:
        job = await rig.submit(program(pieces=["x"], pause=0.3))
        await rig.queue.carrier.send(job.id, "default")
        async with rig.worker() as backend:
            await rig.ended(job.id)
            await rig.queue.carrier.send(job.id, "default")
            await rig.ended((await rig.submit()).id)
        assert len(backend.jobs) == 2
        assert (await rig.queue.job(job.id)).attempt == 1

    async def test_figures(self, rig: Rig) -> None:
        finished = await rig.submit()
        async with rig.worker(slots=3):
            await rig.ended(finished.id)
            (worker,) = await rig.workers()
            assert (worker.slots, worker.queues, worker.backend, worker.draining) == (3, ("default",), "fake", False)
        await rig.submit()
        await asyncio.sleep(0.05)
        stats = await rig.queue.stats()
        assert stats.workers == ()
        depth = stats.queues["default"]
        assert (depth.waiting, depth.delayed, depth.running, depth.dead) == (1, 0, 0, 0)
        assert 0.05 <= depth.oldest_age < 60
        assert depth.totals == {
            "submitted": 2, "started": 1, "retried": 0, "finished": 1, "dead": 0, "cancelled": 0,
        }  # fmt: skip

    async def test_jobs_are_listed_the_latest_first(self, rig: Rig) -> None:
        first, second = await rig.submit(), await rig.submit(queue="other")
        assert [job.id for job in await rig.queue.jobs()] == [second.id, first.id]
        assert [job.id for job in await rig.queue.jobs(queue="other")] == [second.id]
        assert [job.id for job in await rig.queue.jobs("queued", limit=1)] == [second.id]
        assert await rig.queue.jobs("dead") == []

    async def test_a_job_that_is_not_there(self, rig: Rig) -> None:
        for call in (rig.queue.job, rig.queue.cancel, rig.queue.requeue, rig.queue.result):
            with pytest.raises(JobNotFoundError):
                await call("no-such-job")

    async def test_waiting_for_a_result_has_an_end(self, rig: Rig) -> None:
        job = await rig.submit()
        begun = time.monotonic()
        with pytest.raises(TimeoutError):
            await rig.queue.result(job.id, timeout=0.2)
        assert time.monotonic() - begun < 10
        assert (await rig.queue.job(job.id)).state == "queued"

    @pytest.mark.parametrize(
        "wrong",
        [{"queue": "no such name"}, {"queue": ""}, {"key": ""}, {"delay": -1.0}, {"attempts": 0}],
        ids=lambda wrong: next(iter(wrong)),
    )
    async def test_what_cannot_be_is_refused(self, rig: Rig, wrong: dict[str, Any]) -> None:
        with pytest.raises(InvalidRequestError):
            await rig.submit(**wrong)
        assert await rig.queue.jobs() == []

    async def test_a_time_limit_that_the_engine_cannot_hold_is_refused(self, rig: Rig) -> None:
        longest = rig.queue.carrier.longest
        if longest is None:
            pytest.skip("this engine has no bound")
        with pytest.raises(InvalidRequestError, match="a job may take"):
            await rig.submit(timeout=longest + 1)


async def _until_so_many_run(rig: Rig, number: int, *, queue: str | None = None) -> None:
    async with asyncio.timeout(60):
        while len(await rig.queue.jobs("running", queue=queue)) < number:  # noqa: ASYNC110 - the workers' doing
            await asyncio.sleep(0.01)
