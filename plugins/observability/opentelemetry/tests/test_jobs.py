"""A trace goes with a job: from the span of its submitter to the execution in the worker."""

from __future__ import annotations

import itertools

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from xagent_opentelemetry.tracing import Tracing

from xagent_core import Engine, ExecutionRequest, Job, JobFailure, PoolConfig, Worker, get_queue, hookimpl, load_plugins
from xagent_core.testing.fakes import FakeBackend


@pytest.fixture
def exporter():
    return InMemorySpanExporter()


@pytest.fixture
def provider(exporter):
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    yield provider
    provider.shutdown()


@pytest.fixture
def tracing(provider):
    return Tracing(provider)


def spans_of(exporter):
    return {span.name: span for span in exporter.get_finished_spans()}


async def test_a_job_is_below_its_submitter_and_above_its_execution(exporter, provider, tracing):
    class Observer:
        @hookimpl
        def xagent_job_submitting(self, queue, headers):
            tracing.jobs.submitting(queue, headers)

        @hookimpl
        def xagent_job_started(self, job, worker):
            tracing.jobs.started(job, worker)

        @hookimpl
        def xagent_job_ended(self, job):
            tracing.jobs.ended(job)

        @hookimpl
        def xagent_before_execute(self, request, backend):
            tracing.executions.began(request, backend, tracing.jobs.context())

        @hookimpl
        def xagent_after_execute(self, request, result, error):
            tracing.executions.ended(request, result, error)

    plugins = load_plugins(("xagent-opentelemetry",))
    plugins.add("tracing", "tests", "1", Observer)
    async with (
        get_queue("docket", plugins=plugins) as queue,
        Engine(FakeBackend(), plugins=plugins, pool=PoolConfig(ready=0)) as engine,
        Worker(queue, engine, name="w"),
    ):
        with provider.get_tracer("agent").start_as_current_span("step"):
            job = await queue.submit("")
        await queue.result(job.id, timeout=20)
    spans = spans_of(exporter)
    chain = ["step", "send default", "process default", "xagent.execute", "xagent.run"]
    for parent, child in itertools.pairwise(chain):
        assert spans[child].parent.span_id == spans[parent].context.span_id
    assert spans["send default"].kind is SpanKind.PRODUCER
    attempt = spans["process default"]
    assert attempt.kind is SpanKind.CONSUMER
    assert attempt.attributes["messaging.message.id"] == job.id
    assert attempt.attributes["xagent.job.state"] == "finished"
    assert attempt.status.status_code is StatusCode.UNSET


def make_job(**fields) -> Job:
    request = ExecutionRequest(code="", language="python")
    return Job(**{"id": "j", "queue": "default", "state": "running", "request": request, "attempt": 1} | fields)


def test_each_attempt_is_a_span_and_one_that_failed_says_why(exporter, tracing):
    failure = JobFailure(type="SandboxStartError", component="docker", cause="no space left")
    tracing.jobs.started(make_job(), "w")
    tracing.jobs.ended(make_job(state="queued", failure=failure))
    tracing.jobs.started(make_job(attempt=2), "w")
    tracing.jobs.ended(make_job(attempt=2, state="finished", failure=failure))
    first, second = exporter.get_finished_spans()
    assert (first.status.status_code, first.attributes["error.type"]) == (StatusCode.ERROR, "SandboxStartError")
    assert second.status.status_code is StatusCode.UNSET
    assert [span.attributes["xagent.job.attempt"] for span in (first, second)] == [1, 2]


def test_the_end_of_a_job_that_another_worker_ran_is_no_span_here(exporter, tracing):
    tracing.jobs.ended(make_job(state="dead"))
    assert exporter.get_finished_spans() == ()
