"""Observes jobs, and carries their traces."""

from __future__ import annotations

from collections.abc import MutableMapping

from xagent_core import Job, hookimpl
from xagent_opentelemetry.wanted import tracing


@hookimpl
def xagent_job_submitting(queue: str, headers: MutableMapping[str, str]) -> None:
    """Puts the trace into the headers of the job."""
    if spans := tracing():
        spans.jobs.submitting(queue, headers)


@hookimpl
def xagent_job_started(job: Job, worker: str) -> None:
    """Begins the span of an attempt."""
    if spans := tracing():
        spans.jobs.started(job, worker)


@hookimpl
def xagent_job_retried(job: Job) -> None:
    """Ends it."""
    if spans := tracing():
        spans.jobs.ended(job)


@hookimpl
def xagent_job_ended(job: Job) -> None:
    """Ends it."""
    if spans := tracing():
        spans.jobs.ended(job)
