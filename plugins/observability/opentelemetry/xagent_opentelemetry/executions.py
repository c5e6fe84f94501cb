"""Writes the spans of executions: acquire, build and run below the execution, that below whatever called it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, StatusCode, Tracer

from xagent_core import ExecutionRequest, ExecutionResult

__all__ = ["Executions"]

_NANOSECONDS: Final = 10**9


@dataclass(frozen=True, slots=True, eq=False)
class _Open:
    """An execution under way; it keeps its request, so that no other can have the same identity meanwhile."""

    request: ExecutionRequest
    task: asyncio.Task[Any] | None
    span: Span
    start: int


class Executions:
    """The executions of this process that have not ended.

    Args:
        tracer: Makes their spans.
    """

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer
        self._open: list[_Open] = []

    def began(self, request: ExecutionRequest, backend: str, context: Context | None) -> None:
        """Begins a span.

        Args:
            request: What is executed.
            backend: Where.
            context: Of the job that it is the execution of; by default the one that is current in the caller.
        """
        attributes = {"xagent.language": request.language, "xagent.backend": backend}
        start = time.time_ns()
        span = self._tracer.start_span("xagent.execute", context, attributes=attributes, start_time=start)
        self._open.append(_Open(request, _current_task(), span, start))

    def ended(self, request: ExecutionRequest, result: ExecutionResult | None, error: BaseException | None) -> None:
        """Ends it. How long each phase took is known only now, so their spans are written afterwards."""
        if (began := self._take(request)) is None:
            return
        span = began.span
        if result is not None:
            context = trace.set_span_in_context(span)
            start = began.start
            for name, end in _phases(start, result):
                self._tracer.start_span(f"xagent.{name}", context, start_time=start).end(end)
                start = end
            span.set_attributes({"xagent.language": result.language, "xagent.status": result.status})
            if result.exit_code is not None:
                span.set_attribute("process.exit.code", result.exit_code)
        elif error is not None:
            span.set_attribute("error.type", type(error).__name__)
            span.set_status(StatusCode.ERROR, str(error))
        span.end()

    def _take(self, request: ExecutionRequest) -> _Open | None:
        """The same request may be executed several times at once, and a stream be closed by another task."""
        same = [began for began in self._open if began.request is request]
        task = _current_task()
        chosen = next((began for began in same if began.task is task), same[0] if same else None)
        if chosen is not None:
            self._open.remove(chosen)
        return chosen


def _phases(start: int, result: ExecutionResult) -> Iterator[tuple[str, int]]:
    """The phases that there were, and when each ended."""
    for name in ("acquire", "build", "run"):
        seconds: float = getattr(result.timings, name)
        start += int(seconds * _NANOSECONDS)
        if name == "acquire" or seconds:
            yield name, start


def _current_task() -> asyncio.Task[Any] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:  # No event loop: a stream that was not closed is collected when the process ends.
        return None
