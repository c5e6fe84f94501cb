"""What is run is counted, by Prometheus' conventions, and costs nothing where nobody reads it."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from xagent_core import Engine, PoolConfig, UnknownLanguageError, XAgentError
from xagent_core.testing.fakes import FakeBackend, FakeRun

ONE = {"language": "python", "backend": "fake"}


async def becomes(value, registry, name, labels):
    """Waits for a metric's value."""
    async with asyncio.timeout(60):
        while registry.get_sample_value(name, labels) != value:  # noqa: ASYNC110 - the engine's doing
            await asyncio.sleep(0.01)


async def test_results_are_counted_by_status(plugins, registry):
    backend = FakeBackend(lambda job: FakeRun(exit_code=int(job.source)))
    async with Engine(backend, plugins=plugins) as engine:
        for code in ("0", "0", "1"):
            await engine.execute(code)
    assert registry.get_sample_value("xagent_executions_total", ONE | {"status": "success"}) == 2
    assert registry.get_sample_value("xagent_executions_total", ONE | {"status": "error"}) == 1
    phases = "xagent_execution_phase_duration_seconds_count"
    assert registry.get_sample_value(phases, ONE | {"phase": "acquire"}) == 3
    assert registry.get_sample_value(phases, ONE | {"phase": "run"}) == 3
    assert registry.get_sample_value(phases, ONE | {"phase": "build"}) is None


async def test_what_runs_is_a_gauge(plugins, registry):
    seen = asyncio.Event()
    async with Engine(FakeBackend(FakeRun(until=seen.is_set)), plugins=plugins) as engine:
        running = asyncio.create_task(engine.execute(""))
        await becomes(1, registry, "xagent_executions_running", {"backend": "fake"})
        seen.set()
        assert (await running).status == "success"
    assert registry.get_sample_value("xagent_executions_running", {"backend": "fake"}) == 0


async def test_errors_of_providers_are_counted_by_class(plugins, registry):
    async with Engine(FakeBackend(FakeRun(lost=True)), plugins=plugins) as engine:
        with pytest.raises(XAgentError):
            await engine.execute("")
    where = ONE | {"error": "SandboxLostError"}
    assert registry.get_sample_value("xagent_execution_errors_total", where) == 1


async def test_a_language_that_a_caller_invents_is_no_label(plugins, registry):
    async with Engine(FakeBackend(), plugins=plugins) as engine:
        for language in ("klingon", "elvish"):
            with pytest.raises(UnknownLanguageError):
                await engine.execute("", language=language)
    where = {"language": "unknown", "backend": "fake", "error": "UnknownLanguageError"}
    assert registry.get_sample_value("xagent_execution_errors_total", where) == 2


async def test_an_alias_is_no_label_of_its_own(plugins, registry):
    async with Engine(FakeBackend(FakeRun(lost=True)), plugins=plugins) as engine:
        for written in ("python", "py", "PYTHON"):
            with pytest.raises(XAgentError):
                await engine.execute("", language=written)
    where = ONE | {"error": "SandboxLostError"}
    assert registry.get_sample_value("xagent_execution_errors_total", where) == 3


async def test_the_pool_shows_its_sandboxes(plugins, registry):
    async with Engine(FakeBackend(), plugins=plugins, pool=PoolConfig(ready=2), warm=["python"]) as engine:
        await becomes(2, registry, "xagent_pool_sandboxes", {"backend": "fake", "state": "ready"})
        await engine.execute("")
        await becomes(1, registry, "xagent_pool_sandboxes_discarded_total", {"backend": "fake"})
        kind = {"backend": "fake", "kind": "ready"}
        assert registry.get_sample_value("xagent_pool_sandboxes_handed_out_total", kind) == 1


async def test_promtool_has_no_complaint(plugins, exposition, promtool):
    async with Engine(FakeBackend(FakeRun(oom_kills=0)), plugins=plugins) as engine:
        await engine.execute("")
        with pytest.raises(UnknownLanguageError):
            await engine.execute("", language="klingon")
        assert b"xagent_executions_total" in exposition()
        assert promtool(exposition()) == ""


def test_promtool_would_complain(promtool):
    assert "counter metrics should have" in promtool(b"# HELP x Some.\n# TYPE x counter\nx 1\n")


PROGRAM = """
import asyncio, sys
{first}
from xagent_core import Engine
from xagent_core.testing.fakes import FakeBackend

async def main():
    async with Engine(FakeBackend()) as engine:
        await engine.execute("")

asyncio.run(main())
if "prometheus_client" in sys.modules:
    import prometheus_client
    print(prometheus_client.generate_latest().decode())
"""


@pytest.mark.parametrize(("first", "counted"), [("", False), ("import prometheus_client", True)])
def test_it_counts_in_programs_that_use_prometheus_client_and_costs_others_nothing(first, counted):
    program = PROGRAM.format(first=first)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    line = 'xagent_executions_total{backend="fake",language="python",status="success"} 1.0'
    assert (line in done.stdout.splitlines()) is counted
