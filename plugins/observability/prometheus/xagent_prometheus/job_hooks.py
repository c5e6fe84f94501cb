"""Observes jobs, workers and scaling."""

from __future__ import annotations

from xagent_core import Job, ScalingDecision, WorkerInfo, hookimpl
from xagent_prometheus.wanted import job_metrics


@hookimpl
def xagent_job_started(job: Job) -> None:
    """Counts an attempt."""
    if kept := job_metrics():
        kept.started(job)


@hookimpl
def xagent_job_retried(job: Job) -> None:
    """Counts its failure."""
    if kept := job_metrics():
        kept.retried(job)


@hookimpl
def xagent_job_ended(job: Job) -> None:
    """Counts the end."""
    if kept := job_metrics():
        kept.ended(job)


@hookimpl
def xagent_worker_started(worker: WorkerInfo) -> None:
    """Shows its slots."""
    if kept := job_metrics():
        kept.worker_started(worker)


@hookimpl
def xagent_worker_stopped(worker: WorkerInfo) -> None:
    """Takes its slots back."""
    if kept := job_metrics():
        kept.worker_stopped(worker)


@hookimpl
def xagent_scaled(decision: ScalingDecision) -> None:
    """Counts a decision, in the process of the scaler."""
    if kept := job_metrics():
        kept.scaled(decision)
