"""What observers are told of jobs: each start, each retry, and the end once."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from xagent_core import Language, hookimpl
from xagent_core.testing.queues.worker import LANGUAGE, program


@pytest.fixture
def told(rig):
    """Everything that observers are told, in order."""
    seen = []

    def xagent_job_submitting(headers):
        headers["trace"] = "abc"

    def xagent_job_submitted(job):
        seen.append(("submitted", job.attempt))

    def xagent_job_started(job, worker):
        seen.append(("started", job.attempt, job.headers["trace"]))

    def xagent_job_retried(job):
        seen.append(("retried", job.failure.type))

    def xagent_job_ended(job):
        seen.append(("ended", job.state))

    def xagent_worker_started(worker):
        seen.append(("worker started", worker.slots))

    def xagent_worker_stopped(worker):
        seen.append(("worker stopped", worker.draining))

    hooks = {name: hookimpl(hook) for name, hook in locals().items() if name.startswith("xagent_")}
    rig.queue.plugins.add("told", "told", "0", lambda: SimpleNamespace(**hooks))
    assert rig.queue.plugins.failures == []
    return seen


async def test_a_job_that_is_tried_again(rig, told):
    async with rig.worker(slots=3):
        job = await rig.submit(program(fails="no", times=1))
        await rig.ended(job.id)
    assert told == [
        ("worker started", 3),
        ("submitted", 0),
        ("started", 1, "abc"),
        ("retried", "SandboxLostError"),
        ("started", 2, "abc"),
        ("ended", "finished"),
        ("worker stopped", True),
    ]


async def test_a_job_that_is_cancelled_while_it_waits(rig, told):
    job = await rig.submit()
    await rig.queue.cancel(job.id)
    await rig.queue.cancel(job.id)
    assert told == [("submitted", 0), ("ended", "cancelled")]


async def test_observers_get_a_language_s_own_name_and_the_books_what_was_written(rig):
    seen = []

    def xagent_job_submitting(request):
        seen.append(request.language)

    def xagent_job_submitted(job):
        seen.append(job.request.language)

    def xagent_job_started(job):
        seen.append(job.request.language)

    def xagent_job_ended(job):
        seen.append(job.request.language)

    hooks = {name: hookimpl(hook) for name, hook in locals().items() if name.startswith("xagent_")}
    language = Language(name=LANGUAGE, run=("played", "{source}"), executables=("played",), extensions=(".played",))
    rig.queue.plugins.languages.add(language, "tests")
    rig.queue.plugins.add("seen", "seen", "0", lambda: SimpleNamespace(**hooks))
    async with rig.worker():
        job = await rig.queue.submit(program(), language=LANGUAGE.upper())
        job = await rig.ended(job.id)
    assert seen == [LANGUAGE] * 4
    assert job.request.language == LANGUAGE.upper()
    assert job.result.language == LANGUAGE


async def test_an_attempt_that_has_lost_its_job_tells_of_no_end(rig, told, tmp_path):
    async with rig.worker():
        job = await rig.submit(program(pieces=["x"], until=tmp_path / "lost"))
        await rig.until(job.id, lambda job: job.state == "running")
        # As if another worker had been given it meanwhile.
        await rig.queue.books.store.client.hset(f"{rig.queue.config.prefix}:job:{job.id}", "token", "another's")
        (tmp_path / "lost").touch()
    assert [what[0] for what in told] == ["worker started", "submitted", "started", "worker stopped"]
    assert rig.queue.plugins.failures == []
