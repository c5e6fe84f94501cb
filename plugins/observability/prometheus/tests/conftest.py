"""An engine whose programs do as they are told, and metrics that nobody else counts in."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from xagent_prometheus.metrics import Metrics

from xagent_core import hookimpl, load_plugins
from xagent_core.plugins import Plugins


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def metrics(registry: CollectorRegistry) -> Metrics:
    return Metrics(registry)


@pytest.fixture
def plugins(metrics: Metrics) -> Plugins:
    """What is installed, observed by these metrics."""
    plugins = load_plugins(("xagent-prometheus",))

    class Observer:
        @hookimpl
        def xagent_before_execute(self, backend):
            metrics.began(backend)

        @hookimpl
        def xagent_after_execute(self, request, backend, result, error):
            metrics.ended(request, backend, result, error)

        @hookimpl
        def xagent_pool_changed(self, backend, stats):
            metrics.pool_changed(backend, stats)

    plugins.add("metrics", "tests", "1", Observer)
    return plugins


@pytest.fixture
def promtool() -> Callable[[bytes], str]:
    """Checks an exposition by Prometheus' own conventions; what it has to say."""
    program = shutil.which("promtool")
    if program is None:
        if os.environ.get("XAGENT_REQUIRE_ENGINES"):
            pytest.fail("promtool is missing: apt-get install prometheus")
        pytest.skip("promtool is missing: apt-get install prometheus")

    def check(exposition: bytes) -> str:
        done = subprocess.run([program, "check", "metrics"], input=exposition, capture_output=True, check=False)
        return (done.stdout + done.stderr).decode()

    return check


@pytest.fixture
def exposition(registry: CollectorRegistry) -> Callable[[], bytes]:
    return lambda: generate_latest(registry)
