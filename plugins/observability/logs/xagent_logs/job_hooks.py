"""Logs what becomes of jobs and workers."""

from __future__ import annotations

import logging

from xagent_core import Job, ScalingDecision, WorkerInfo, hookimpl
from xagent_logs.records import about

_logger = logging.getLogger("xagent_core.jobs")


@hookimpl
def xagent_job_started(job: Job, worker: str) -> None:
    """Logs an attempt."""
    _logger.info("job started", extra=about(job) | {"worker": worker})


@hookimpl
def xagent_job_retried(job: Job) -> None:
    """Logs why it is followed by another."""
    _logger.warning("job is tried again", extra=about(job))


@hookimpl
def xagent_job_ended(job: Job) -> None:
    """Logs the end."""
    _logger.log(logging.ERROR if job.state == "dead" else logging.INFO, "job ended", extra=about(job))


@hookimpl
def xagent_worker_stopped(worker: WorkerInfo) -> None:
    """Logs that a worker has drained."""
    _logger.info("worker drained", extra={"worker": worker.id})


@hookimpl
def xagent_scaled(decision: ScalingDecision) -> None:
    """Logs a decision of the scaler."""
    _logger.info("scaled", extra={"workers": decision.workers, "wanted": decision.wanted, "reason": decision.reason})
