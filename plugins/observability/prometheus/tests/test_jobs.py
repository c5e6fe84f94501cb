"""Jobs, workers and scaling are counted where they are seen; the queue's own figures come from its books."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import time
import urllib.request

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from xagent_prometheus.queues import Queues, watch
from xagent_prometheus.server import serve_process

from xagent_core import (
    ConfigError,
    Engine,
    ExecutionRequest,
    Job,
    JobDeadError,
    JobFailure,
    PoolConfig,
    QueueStats,
    QueueUnavailableError,
    ScalingDecision,
    Worker,
    WorkerInfo,
    get_queue,
    hookimpl,
    load_plugins,
)
from xagent_core.testing.fakes import FakeBackend
from xagent_core.testing.ports import ReservedPort

LOST = JobFailure(type="WorkerLostError", component="worker", cause="it was lost")


def make_job(**fields) -> Job:
    given = {
        "id": "j1",
        "queue": "default",
        "state": "running",
        "request": ExecutionRequest(code="", language="python"),
    }
    return Job(**given | fields)


async def test_a_workers_jobs_are_counted(metrics, registry):
    plugins = load_plugins(("xagent-prometheus",))

    class Observer:
        @hookimpl
        def xagent_job_started(self, job):
            metrics.jobs.started(job)

        @hookimpl
        def xagent_job_ended(self, job):
            metrics.jobs.ended(job)

        @hookimpl
        def xagent_worker_started(self, worker):
            metrics.jobs.worker_started(worker)

        @hookimpl
        def xagent_worker_stopped(self, worker):
            metrics.jobs.worker_stopped(worker)

    plugins.add("jobs", "tests", "1", Observer)
    slots = {"worker": "w", "backend": "fake"}
    async with (
        get_queue("docket", plugins=plugins) as queue,
        Engine(FakeBackend(), plugins=plugins, pool=PoolConfig(ready=0)) as engine,
        Worker(queue, engine, slots=3, name="w"),
    ):
        assert registry.get_sample_value("xagent_worker_slots", slots) == 3
        for _ in range(2):
            await queue.result((await queue.submit("")).id, timeout=20)
        dead = await queue.submit("", language="klingon")
        with pytest.raises(JobDeadError, match="klingon"):
            await queue.result(dead.id, timeout=20)
    assert registry.get_sample_value("xagent_worker_slots", slots) is None
    assert registry.get_sample_value("xagent_job_attempts_total", {"queue": "default"}) == 3
    assert registry.get_sample_value("xagent_jobs_total", {"queue": "default", "state": "finished"}) == 2
    assert registry.get_sample_value("xagent_jobs_total", {"queue": "default", "state": "dead"}) == 1
    failed = {"queue": "default", "error": "UnknownLanguageError"}
    assert registry.get_sample_value("xagent_job_attempt_failures_total", failed) == 1
    assert registry.get_sample_value("xagent_job_wait_seconds_count", {"queue": "default"}) == 3


def test_retries_and_decisions_of_the_scaler_are_counted(metrics, registry, exposition, promtool):
    metrics.jobs.retried(make_job(state="queued", failure=LOST))
    failed = {"queue": "default", "error": "WorkerLostError"}
    assert registry.get_sample_value("xagent_job_attempt_failures_total", failed) == 1
    decision = {"waiting": 9, "oldest_age": 1.0, "busy": 2, "slots": 2, "reason": "more waits"}
    metrics.jobs.scaled(ScalingDecision(workers=1, wanted=3, **decision))
    metrics.jobs.scaled(ScalingDecision(workers=3, wanted=2, **decision))
    assert registry.get_sample_value("xagent_scaler_wanted_workers") == 2
    for direction in ("up", "down"):
        assert registry.get_sample_value("xagent_scaler_decisions_total", {"direction": direction}) == 1
    assert promtool(exposition()) == ""


async def watched(queue, queues: Queues, seconds: float = 0.05) -> None:
    done = asyncio.Event()
    watching = asyncio.create_task(watch(queue, queues, every=0.02, until=done))
    await asyncio.sleep(seconds)
    done.set()
    await watching


async def test_the_books_are_shown(promtool):
    registry, queues = CollectorRegistry(), Queues()
    registry.register(queues)
    assert registry.get_sample_value("xagent_queue_up") == 0
    async with get_queue("docket") as queue:
        for _ in range(3):
            await queue.submit("")
        await queue.submit("", delay=60)
        await watched(queue, queues)
    assert registry.get_sample_value("xagent_queue_up") == 1
    for state, count in {"waiting": 3, "delayed": 1, "running": 0, "dead": 0}.items():
        assert registry.get_sample_value("xagent_queue_jobs", {"queue": "default", "state": state}) == count
    submitted = {"queue": "default", "event": "submitted"}
    assert registry.get_sample_value("xagent_queue_events_total", submitted) == 4
    assert registry.get_sample_value("xagent_queue_workers", {"state": "active"}) == 0
    assert promtool(generate_latest(registry)) == ""


def test_slots_and_workers_are_summed_up():
    registry, queues = CollectorRegistry(), Queues()
    registry.register(queues)
    worker = {"host": "h", "pid": 1, "queues": ("default",), "backend": "fake", "started": time.time()}
    queues.latest = QueueStats(
        queues={},
        workers=(
            WorkerInfo(id="a", slots=4, busy=3, draining=False, **worker),
            WorkerInfo(id="b", slots=2, busy=2, draining=True, **worker),
        ),
    )
    assert registry.get_sample_value("xagent_queue_workers", {"state": "active"}) == 1
    assert registry.get_sample_value("xagent_queue_workers", {"state": "draining"}) == 1
    assert registry.get_sample_value("xagent_queue_slots", {"state": "busy"}) == 5
    assert registry.get_sample_value("xagent_queue_slots", {"state": "free"}) == 1


async def test_books_that_do_not_answer_show_nothing_old(caplog):
    class Away:
        async def stats(self):
            raise QueueUnavailableError("queue", "its server does not answer")

    registry, queues = CollectorRegistry(), Queues()
    registry.register(queues)
    async with get_queue("docket") as queue:
        await queue.submit("")
        await watched(queue, queues)
    await watched(Away(), queues)
    assert registry.get_sample_value("xagent_queue_up") == 0
    waiting = {"queue": "default", "state": "waiting"}
    assert registry.get_sample_value("xagent_queue_jobs", waiting) is None
    assert [record.message for record in caplog.records if record.name.startswith("xagent_prometheus")] == [
        "the books do not answer: queue: its server does not answer"
    ]


def test_a_process_that_is_told_to_serves_its_metrics():
    program = """
import asyncio, urllib.request
from xagent_core import load_plugins
plugins = load_plugins()
plugins.observe("xagent_process_started", command="worker")
print(urllib.request.urlopen("http://127.0.0.1:%d/metrics", timeout=30).read().decode())
"""
    port = ReservedPort()
    env = os.environ | {"XAGENT_METRICS_ADDRESS": f"127.0.0.1:{port.number}"}
    command = [sys.executable, "-c", program % port.number]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=env)
    assert "# TYPE xagent_executions_total counter" in done.stdout


def test_of_a_range_the_first_free_port_is_taken():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        first = taken.getsockname()[1]
        port = serve_process(f"127.0.0.1:{first}-{first + 20}")
        assert first < port <= first + 20
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
            assert answer.headers["Content-Type"].startswith("text/plain; version=")
        with pytest.raises(ConfigError):
            serve_process(f"127.0.0.1:{first}")


@pytest.mark.parametrize("address", ["nonsense", "127.0.0.1:", "127.0.0.1:9470-9460"])
def test_an_address_that_cannot_be_read_is_an_error(address):
    with pytest.raises(ConfigError):
        serve_process(address)
