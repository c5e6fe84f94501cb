"""Writes the spans of jobs, and carries a trace from who submits one to the worker that runs it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import MutableMapping
from typing import Final

from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer

from xagent_core import Job
from xagent_core.queueing.observing import current_job

__all__ = ["Jobs"]

# A job whose worker was taken for dead ends elsewhere: its span here is never ended, and must not be kept for ever.
_MOST: Final = 10_000


class Jobs:
    """The attempts of jobs that this process runs.

    Args:
        tracer: Makes their spans.
    """

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer
        self._open: OrderedDict[str, Span] = OrderedDict()

    def submitting(self, queue: str, headers: MutableMapping[str, str]) -> None:
        """Writes the span of a submission, and puts its context into the headers of the job."""
        span = self._tracer.start_span(f"send {queue}", kind=SpanKind.PRODUCER, attributes=_attributes(queue))
        propagate.inject(headers, trace.set_span_in_context(span))
        # What comes of the submission is not told where it fails, so the span cannot wait for it.
        span.end()

    def started(self, job: Job, worker: str) -> None:
        """Begins the span of an attempt, below that of the submission."""
        attributes = _attributes(job.queue) | {
            "messaging.message.id": job.id,
            "xagent.job.attempt": job.attempt,
            "xagent.worker": worker,
        }
        self._end(job.id)
        self._open[job.id] = self._tracer.start_span(
            f"process {job.queue}", propagate.extract(job.headers), kind=SpanKind.CONSUMER, attributes=attributes
        )
        if len(self._open) > _MOST:
            self._open.popitem(last=False)[1].end()

    def ended(self, job: Job) -> None:
        """Ends the span of an attempt, if it was this process that ran it."""
        self._end(job.id, job)

    def context(self) -> Context | None:
        """What an execution in the current task is below: the job that this task runs, if any."""
        job = current_job.get()
        span = self._open.get(job.id) if job else None
        return trace.set_span_in_context(span) if span is not None else None

    def _end(self, job_id: str, job: Job | None = None) -> None:
        span = self._open.pop(job_id, None)
        if span is None:
            return
        if job is not None:
            span.set_attribute("xagent.job.state", job.state)
            if job.failure is not None and job.state != "finished":
                span.set_attribute("error.type", job.failure.type)
                span.set_status(StatusCode.ERROR, job.failure.cause)
        span.end()


def _attributes(queue: str) -> dict[str, str | int]:
    return {"messaging.system": "xagent", "messaging.destination.name": queue}
