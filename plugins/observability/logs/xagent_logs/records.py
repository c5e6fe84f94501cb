"""What log records say of jobs: never their code, nor what they were given or wrote."""

from __future__ import annotations

from typing import Any

from xagent_core import Job

__all__ = ["about", "identity"]


def identity(job: Job) -> dict[str, Any]:
    """Which job and attempt, and which trace where one is carried."""
    fields: dict[str, Any] = {"job": job.id, "attempt": job.attempt, "queue": job.queue}
    # The header is W3C's: version, trace, parent and flags, with a dash between them.
    if len(parts := job.headers.get("traceparent", "").split("-")) == 4:
        fields["trace"] = parts[1]
    return fields


def about(job: Job) -> dict[str, Any]:
    """Where a job stands, how long it took, and what it failed of."""
    fields = identity(job) | {"state": job.state} | dict([job.runs])
    if job.started is not None:
        fields["waited"] = round(max(0.0, job.started - job.ready), 3)
    if job.over and job.ended is not None and job.started is not None:
        fields["seconds"] = round(max(0.0, job.ended - job.started), 3)
    if job.result is not None:
        fields["status"] = job.result.status
    elif job.failure is not None:
        fields |= {"error": job.failure.type, "cause": job.failure.cause}
    return fields
