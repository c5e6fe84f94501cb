"""The metrics of executions in this process, by Prometheus' conventions for names and units."""

from __future__ import annotations

import functools
from typing import Final

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

from xagent_core import ExecutionRequest, ExecutionResult, PoolStats, UnknownLanguageError
from xagent_prometheus.jobs import JobMetrics
from xagent_prometheus.pools import Pools

__all__ = ["Metrics", "process_metrics"]

_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_BYTES: Final = tuple(float(2**power) for power in range(22, 33))  # 4 MiB to 4 GiB


class Metrics:
    """What this process has run, and how.

    Args:
        registry: Where the metrics are kept.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        where = ("language", "backend")
        self._running = Gauge(
            "xagent_executions_running", "Programs that run or wait for a sandbox.", ["backend"], registry=registry
        )
        self._started = Counter(
            "xagent_executions_started", "Programs that were to be run.", ["backend"], registry=registry
        )
        self._ended = Counter(
            "xagent_executions", "Programs that came to a result.", [*where, "status"], registry=registry
        )
        self._failed = Counter(
            "xagent_execution_errors",
            "Executions that came to no result, by the class of the error.",
            [*where, "error"],
            registry=registry,
        )
        self._seconds = Histogram(
            "xagent_execution_phase_duration_seconds",
            "Seconds until a sandbox was at hand (acquire), of the build step (build), and of the program (run).",
            [*where, "phase"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._cpu = Counter(
            "xagent_execution_cpu_seconds", "CPU seconds of sandboxes that ran a program.", where, registry=registry
        )
        self._memory = Histogram(
            "xagent_execution_peak_memory_bytes",
            "Highest memory of a sandbox that ran a program.",
            where,
            buckets=_BYTES,
            registry=registry,
        )
        self._truncated = Counter(
            "xagent_execution_output_truncated",
            "Programs whose output was cut at the limit.",
            where,
            registry=registry,
        )
        self.jobs = JobMetrics(registry)
        """Those of jobs."""
        self.pools = Pools()
        """Those of sandboxes."""
        registry.register(self.pools)

    def began(self, backend: str) -> None:
        """Counts a request that is about to run."""
        self._started.labels(backend).inc()
        self._running.labels(backend).inc()

    def ended(
        self, request: ExecutionRequest, backend: str, result: ExecutionResult | None, error: BaseException | None
    ) -> None:
        """Counts what became of a request."""
        self._running.labels(backend).dec()
        if result is None:
            # What a caller invents must not become a label: each value of one is a time series for ever.
            language = "unknown" if isinstance(error, UnknownLanguageError) else request.language
            self._failed.labels(language, backend, type(error).__name__).inc()
            return
        where = (result.language, result.backend)
        self._ended.labels(*where, result.status).inc()
        timings = {"acquire": result.timings.acquire, "build": result.timings.build, "run": result.timings.run}
        for phase, seconds in timings.items():
            if phase != "build" or seconds:
                self._seconds.labels(*where, phase).observe(seconds)
        if result.usage.cpu_time is not None:
            self._cpu.labels(*where).inc(max(0.0, result.usage.cpu_time))
        if result.usage.peak_memory is not None:
            self._memory.labels(*where).observe(result.usage.peak_memory)
        if result.output_truncated or result.error_truncated:
            self._truncated.labels(*where).inc()

    def pool_changed(self, backend: str, stats: PoolStats) -> None:
        """Keeps the latest counts of an engine's sandboxes."""
        self.pools.latest[backend] = stats


@functools.cache
def process_metrics() -> Metrics:
    """The metrics of this process, in prometheus_client's default registry; made when they are first asked for."""
    return Metrics(REGISTRY)
