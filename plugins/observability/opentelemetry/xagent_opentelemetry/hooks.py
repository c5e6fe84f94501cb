"""Observes executions."""

from __future__ import annotations

from xagent_core import ExecutionRequest, ExecutionResult, hookimpl
from xagent_opentelemetry.wanted import tracing


@hookimpl
def xagent_before_execute(request: ExecutionRequest, backend: str) -> None:
    """Begins a span."""
    if spans := tracing():
        spans.executions.began(request, backend, spans.jobs.context())


@hookimpl
def xagent_after_execute(
    request: ExecutionRequest, result: ExecutionResult | None, error: BaseException | None
) -> None:
    """Ends it."""
    if spans := tracing():
        spans.executions.ended(request, result, error)
