"""Observes executions and pools."""

from __future__ import annotations

from xagent_core import ExecutionRequest, ExecutionResult, PoolStats, hookimpl
from xagent_prometheus.wanted import metrics, serve_if_told


@hookimpl
def xagent_process_started() -> None:
    """Serves the metrics of the process where the environment says so."""
    serve_if_told()


@hookimpl
def xagent_before_execute(backend: str) -> None:
    """Counts what runs."""
    if kept := metrics():
        kept.began(backend)


@hookimpl
def xagent_after_execute(
    request: ExecutionRequest, backend: str, result: ExecutionResult | None, error: BaseException | None
) -> None:
    """Counts what became of it."""
    if kept := metrics():
        kept.ended(request, backend, result, error)


@hookimpl
def xagent_pool_changed(backend: str, stats: PoolStats) -> None:
    """Keeps the counts of sandboxes."""
    if kept := metrics():
        kept.pool_changed(backend, stats)
