"""The part of a queue's suite in which sandboxes, messages and whole workers are lost."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from xagent_core.errors import InvalidRequestError, JobDeadError
from xagent_core.testing.queues.rig import Rig
from xagent_core.testing.queues.worker import program
from xagent_core.testing.suite import Conformance

__all__ = ["Failures", "LostWorkers"]

_LEASE = 1.5


class Failures(Conformance, suite=True):
    """What is tried again, and what becomes a dead letter."""

    async def test_it_is_tried_again_when_its_code_cannot_have_run(self, rig: Rig) -> None:
        async with rig.worker():
            job = await rig.submit(program(fails="no", times=1, pieces=["done"]))
            result = await rig.queue.result(job.id, timeout=60)
        assert result.output == "done"
        history = await rig.history(job.id)
        assert [(event.kind, event.attempt) for event in history if event.output is None] == [
            ("queued", 0), ("started", 1), ("retry", 1), ("started", 2), ("ended", 2),
        ]  # fmt: skip
        (retry,) = [event for event in history if event.kind == "retry"]
        (second,) = [event for event in history if event.kind == "started" and event.attempt == 2]
        # Back-off, with jitter in its upper half.
        assert 0.1 <= float(retry.detail["delay"]) <= 0.2
        assert second.time - retry.time >= float(retry.detail["delay"]) - 0.01

    async def test_it_is_not_tried_again_when_its_code_may_have_run(self, rig: Rig) -> None:
        async with rig.worker():
            job = await rig.ended((await rig.submit(program(fails="maybe", times=1))).id)
            assert (job.state, job.attempt, job.attempts) == ("dead", 1, 3)
            with pytest.raises(JobDeadError, match=r"the connection broke.*may have run"):
                await rig.queue.result(job.id)

    async def test_it_is_tried_again_when_the_caller_said_that_it_may_run_twice(self, rig: Rig) -> None:
        async with rig.worker():
            job = await rig.ended((await rig.submit(program(fails="maybe", times=1), idempotent=True)).id)
        assert (job.state, job.attempt) == ("finished", 2)

    async def test_a_poison_job_becomes_a_dead_letter_and_can_be_requeued(self, rig: Rig) -> None:
        async with rig.worker():
            job = await rig.ended((await rig.submit(program(fails="no", times=2), attempts=2)).id)
            assert (job.state, job.attempt) == ("dead", 2)
            assert [letter.id for letter in await rig.queue.jobs("dead")] == [job.id]
            assert (await rig.queue.stats()).of().dead == 1
            # The worker lives.
            assert (await rig.ended((await rig.submit()).id)).state == "finished"
            await rig.queue.requeue(job.id)
            job = await rig.until(job.id, lambda job: job.over)
            assert (job.state, job.attempt) == ("finished", 3)
            assert (await rig.queue.stats()).of().dead == 0
            with pytest.raises(InvalidRequestError, match="only dead letters"):
                await rig.queue.requeue(job.id)
        kinds = [event.kind for event in await rig.history(job.id)]
        assert kinds.count("ended") == 2

    async def test_what_no_attempt_could_run_is_not_tried_again(self, rig: Rig) -> None:
        async with rig.worker():
            job = await rig.queue.submit("x", language="no-such-language", idempotent=True)
            job = await rig.ended(job.id)
        assert (job.state, job.attempt) == ("dead", 1)
        assert job.failure is not None
        assert job.failure.type == "UnknownLanguageError"

    async def test_a_job_that_waits_to_be_tried_again_can_be_cancelled(self, rig: Rig) -> None:
        async with rig.worker():
            job = await rig.submit(program(fails="no"), attempts=100)
            await rig.until(job.id, lambda job: job.attempt >= 3 and job.state == "queued")
            await rig.queue.cancel(job.id)
            assert (await rig.ended(job.id)).state == "cancelled"

    async def test_a_request_that_is_too_large_is_refused(self, queue: tuple[str, dict[str, object]]) -> None:
        async with Rig.made(queue[0], {**queue[1], "most_request": 10_000}) as rig:
            with pytest.raises(InvalidRequestError, match="the queue takes 10000"):
                await rig.submit(program(), stdin=b"x" * 20_000)

    async def test_a_result_that_is_too_large_is_said_to_be(self, queue: tuple[str, dict[str, object]]) -> None:
        async with Rig.made(queue[0], {**queue[1], "most_result": 10_000}) as rig, rig.worker():
            job = await rig.ended((await rig.submit(program(pieces=["x" * 20_000]), idempotent=True)).id)
            assert (job.state, job.attempt) == ("dead", 1)
            with pytest.raises(JobDeadError, match="the queue keeps 10000"):
                await rig.queue.result(job.id)
            # What it wrote is not lost.
            assert sum(len(event.output.data) for event in await rig.history(job.id) if event.output) == 20_000
            assert (await rig.ended((await rig.submit()).id)).state == "finished"

    async def test_a_job_whose_message_was_lost_runs_all_the_same(self, queue: tuple[str, dict[str, object]]) -> None:
        async with Rig.made(queue[0], {**queue[1], "resend": 1.0}) as rig, rig.worker():
            send, rig.queue.carrier.send = rig.queue.carrier.send, _swallow  # type: ignore[method-assign]
            job = await rig.submit()
            rig.queue.carrier.send = send  # type: ignore[method-assign]
            assert (await rig.ended(job.id)).state == "finished"

    @pytest.mark.parametrize(
        ("field", "old", "new", "what"),
        [
            ("request", '"none"', '"of-tomorrow"', "network: Input should be"),
            ("attempts", "3", "2.5", "its attempts cannot be read"),
            ("headers", "}", '"a": 1}', "its headers cannot be read"),
        ],
    )
    async def test_a_job_that_cannot_be_read_is_a_dead_letter(
        self, rig: Rig, field: str, old: str, new: str, what: str
    ) -> None:
        torn, cancelled, sound = [await rig.submit() for _ in range(3)]
        for job in (torn, cancelled):
            await rig.rewrite(job.id, field, old, new)
        listed = {job.id: what in job.unreadable for job in await rig.queue.jobs("queued")}
        assert listed == {torn.id: True, cancelled.id: True, sound.id: False}
        assert (await rig.queue.cancel(cancelled.id)).state == "cancelled"
        async with rig.worker() as backend:
            letter = await rig.ended(torn.id)
            assert (await rig.ended(sound.id)).state == "finished"
        assert len(backend.jobs) == 1
        assert letter.state == "dead"
        assert letter.failure is not None
        assert what in letter.failure.cause
        assert [job.id for job in await rig.queue.jobs("dead")] == [torn.id]
        with pytest.raises(JobDeadError, match="cannot be read"):
            await rig.queue.result(torn.id)

    async def test_a_lost_job_that_cannot_be_read_keeps_no_other_lost(
        self, queue: tuple[str, dict[str, object]]
    ) -> None:
        async with Rig.made(queue[0], {**queue[1], "lease": 0.5}) as rig:
            torn, sound = [await rig.submit(idempotent=True) for _ in range(2)]
            for job in (torn, sound):
                assert await rig.queue.books.claim(job.id, "a worker that is gone", "token")
            await rig.rewrite(torn.id, "request", '"none"', '"of-tomorrow"')
            async with rig.worker():
                letter, job = await rig.ended(torn.id), await rig.ended(sound.id)
        assert (job.state, job.attempt) == ("finished", 2)
        assert (letter.state, letter.attempt) == ("dead", 1)
        assert letter.failure is not None
        assert (letter.failure.type, letter.failure.code_ran) == ("WorkerLostError", "maybe")
        assert "its request cannot be read" in letter.failure.cause

    async def test_stopping_a_worker_in_mid_job_gives_the_job_to_another(self, rig: Rig) -> None:
        async with rig.worker():
            again = await rig.submit(program(pieces=["x"], pause=30), idempotent=True)
            once = await rig.submit(program(pieces=["x"], pause=30))
            # Leaving an embedded worker would wait for its jobs.
            for task in await rig.attempts(2):
                task.cancel()
            assert (await rig.until(once.id, lambda job: job.over)).state == "dead"
            job = await rig.until(again.id, lambda job: job.attempt == 2)
            assert job.failure is not None
            assert job.failure.type == "WorkerLostError"
            await rig.queue.cancel(again.id)
            await rig.ended(again.id)


class LostWorkers(Conformance, suite=True):
    """Workers that end by SIGKILL, by SIGTERM, and jobs that outlive a lease."""

    async def test_a_killed_worker_s_job_is_run_once_more_by_another(
        self, queue: tuple[str, dict[str, object]]
    ) -> None:
        async with Rig.made(queue[0], {**queue[1], "lease": _LEASE}) as rig, rig.process() as doomed:
            job = await rig.submit(program(pieces=["begun"], hangs=True, times=1), idempotent=True)
            async for event in rig.queue.events(job.id):
                if event.output is not None:
                    break
            doomed.kill()
            killed = time.time()
            async with rig.worker() as backend:
                job = await rig.ended(job.id)
                assert (job.state, job.attempt) == ("finished", 2)
                assert len(backend.jobs) == 1
            (second,) = [event for event in await rig.history(job.id) if event.kind == "started" and event.attempt == 2]
            assert second.time - killed < 25, "a message that is sent again takes 30 s"
            assert (await rig.queue.result(job.id)).output == "begun"

    async def test_a_killed_worker_s_job_is_a_dead_letter_where_it_must_not_run_twice(
        self, queue: tuple[str, dict[str, object]]
    ) -> None:
        async with Rig.made(queue[0], {**queue[1], "lease": _LEASE}) as rig:
            async with rig.process() as doomed:
                job = await rig.submit(program(exit_code=None))
                await rig.until(job.id, lambda job: job.state == "running")
                doomed.kill()
            waiting = await rig.submit()
            async with rig.worker() as backend:
                job = await rig.ended(job.id)
                assert (job.state, job.attempt) == ("dead", 1)
                assert job.failure is not None
                assert (job.failure.type, job.failure.code_ran) == ("WorkerLostError", "maybe")
                assert (await rig.ended(waiting.id)).state == "finished"
            assert len(backend.jobs) == 1

    async def test_a_job_that_kills_every_worker_ends_as_a_dead_letter(
        self, queue: tuple[str, dict[str, object]]
    ) -> None:
        async with Rig.made(queue[0], {**queue[1], "lease": _LEASE}) as rig:
            job = await rig.submit(program(kills=True), idempotent=True, attempts=2)
            for _ in range(2):
                async with rig.process() as worker, asyncio.timeout(60):
                    await worker.wait()
            async with rig.worker():
                job = await rig.ended(job.id)
            assert (job.state, job.attempt) == ("dead", 2)

    async def test_a_job_that_outlives_many_leases_runs_once(self, queue: tuple[str, dict[str, object]]) -> None:
        # Both in this process: of two, one that is not given the CPU for a lease is rightly lost to the other.
        options = {**queue[1], "lease": 1.0}
        async with Rig.made(queue[0], options) as rig, rig.worker() as one, rig.worker() as other:
            jobs = [await rig.submit(program(pieces=["x"] * 4, pause=0.75), idempotent=True) for _ in range(2)]
            ended = [await rig.ended(job.id) for job in jobs]
            assert {(job.state, job.attempt) for job in ended} == {("finished", 1)}
            assert len(one.jobs) + len(other.jobs) == 2

    async def test_a_worker_that_is_told_to_end_finishes_what_it_runs(
        self, queue: tuple[str, dict[str, object]], tmp_path: Path
    ) -> None:
        options = {**queue[1], "lease": _LEASE, "resend": 1.0}
        async with Rig.made(queue[0], options) as rig, rig.process(slots=1) as worker:
            running = await rig.submit(program(until=tmp_path / "drains"))
            await rig.until(running.id, lambda job: job.state == "running")
            waiting = await rig.submit()
            worker.terminate()
            await rig.workers(lambda workers: any(worker.draining for worker in workers))
            (tmp_path / "drains").touch()
            async with asyncio.timeout(60):
                assert await worker.wait() == 0
            job = await rig.queue.job(running.id)
            assert (job.state, job.attempt) == ("finished", 1)
            assert (await rig.queue.job(waiting.id)).state == "queued"
            async with rig.worker():
                assert (await rig.ended(waiting.id)).state == "finished"


async def _swallow(job_id: str, queue: str) -> None:
    """A carrier's `send` whose message is lost."""
