"""Executions are spans, below what called them, and above their phases."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode
from xagent_opentelemetry.tracing import Tracing

from xagent_core import Engine, XAgentError, hookimpl, load_plugins
from xagent_core.testing.fakes import FakeBackend, FakeRun


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
def plugins(provider):
    spans = Tracing(provider).executions

    class Observer:
        @hookimpl
        def xagent_before_execute(self, request, backend):
            spans.began(request, backend, None)

        @hookimpl
        def xagent_after_execute(self, request, result, error):
            spans.ended(request, result, error)

    plugins = load_plugins(("xagent-opentelemetry",))
    plugins.add("tracing", "tests", "1", Observer)
    return plugins


def by_name(exporter) -> dict[str, ReadableSpan]:
    return {span.name: span for span in exporter.get_finished_spans()}


def parent_of(span: ReadableSpan) -> int | None:
    return span.parent.span_id if span.parent else None


async def test_an_execution_is_below_its_caller_and_above_its_phases(exporter, provider, plugins):
    async with Engine(FakeBackend(FakeRun(exit_code=3)), plugins=plugins) as engine:
        with provider.get_tracer("agent").start_as_current_span("step"):
            await engine.execute("")
    spans = by_name(exporter)
    assert spans.keys() == {"step", "xagent.execute", "xagent.acquire", "xagent.run"}
    execution = spans["xagent.execute"]
    assert parent_of(execution) == spans["step"].context.span_id
    assert {parent_of(spans[name]) for name in ("xagent.acquire", "xagent.run")} == {execution.context.span_id}
    assert execution.attributes["xagent.status"] == "error"
    assert execution.attributes["process.exit.code"] == 3
    assert execution.start_time <= spans["xagent.acquire"].start_time
    assert spans["xagent.acquire"].end_time <= spans["xagent.run"].start_time
    assert spans["xagent.run"].end_time <= execution.end_time + 10_000_000


async def test_a_build_step_is_a_phase_of_its_own(exporter, plugins):
    async with Engine(FakeBackend(), plugins=plugins) as engine:
        result = await engine.execute("package main\nfunc main() {}", language="go")
    assert result.timings.build > 0
    assert "xagent.build" in by_name(exporter)


async def test_a_program_that_fails_is_no_error_of_the_span_and_a_provider_that_fails_is(exporter, plugins):
    async with Engine(FakeBackend(FakeRun(exit_code=1)), plugins=plugins) as engine:
        await engine.execute("")
    assert by_name(exporter)["xagent.execute"].status.status_code is StatusCode.UNSET
    exporter.clear()
    async with Engine(FakeBackend(FakeRun(lost=True)), plugins=plugins) as engine:
        with pytest.raises(XAgentError):
            await engine.execute("secret = 1")
    span = by_name(exporter)["xagent.execute"]
    assert span.status.status_code is StatusCode.ERROR
    assert span.attributes["error.type"] == "SandboxLostError"
    assert "secret" not in span.to_json()


async def test_one_request_many_times_at_once_is_as_many_spans(exporter, plugins):
    from xagent_core import ExecutionRequest

    request = ExecutionRequest(code="", language="python")
    async with Engine(FakeBackend(FakeRun(stdout=b"x", pause=0.05)), plugins=plugins) as engine:
        await asyncio.gather(*(engine.execute(request) for _ in range(4)))
    names = [span.name for span in exporter.get_finished_spans()]
    assert names.count("xagent.execute") == names.count("xagent.run") == 4


def test_a_program_that_nobody_traces_does_not_import_the_sdk():
    program = """
import asyncio, sys
from xagent_core import Engine
from xagent_core.testing.fakes import FakeBackend

async def main():
    async with Engine(FakeBackend()) as engine:
        await engine.execute("")

asyncio.run(main())
print([name for name in sys.modules if name.startswith("opentelemetry.sdk")])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
