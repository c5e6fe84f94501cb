"""The metrics of jobs, workers and scaling in this process."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from xagent_core import Job, ScalingDecision, WorkerInfo

__all__ = ["JobMetrics"]

_SECONDS: Final = (0.01, 0.05, 0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600)


class JobMetrics:
    """What this worker has taken, and what became of it.

    Args:
        registry: Where the metrics are kept.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        queue = ["queue"]
        self._attempts = Counter(
            "xagent_job_attempts", "Attempts at jobs that this worker began.", queue, registry=registry
        )
        self._failures = Counter(
            "xagent_job_attempt_failures",
            "Attempts that could not be run, as this worker saw it, by the class of the error.",
            [*queue, "error"],
            registry=registry,
        )
        self._ended = Counter(
            "xagent_jobs", "Jobs that ended, as this worker saw it, by state.", [*queue, "state"], registry=registry
        )
        self._waited = Histogram(
            "xagent_job_wait_seconds",
            "Seconds between the moment when a job could have started and the start of its attempt.",
            queue,
            buckets=_SECONDS,
            registry=registry,
        )
        self._lasted = Histogram(
            "xagent_job_duration_seconds",
            "Seconds between the start of a job's last attempt and its end.",
            [*queue, "state"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._slots = Gauge(
            "xagent_worker_slots", "Jobs that this worker runs at once.", ["worker", "backend"], registry=registry
        )
        self._wanted = Gauge(
            "xagent_scaler_wanted_workers", "Workers that the scaler wants on this machine.", registry=registry
        )
        self._scaled = Counter(
            "xagent_scaler_decisions",
            "Decisions to have more (up) or fewer (down) workers.",
            ["direction"],
            registry=registry,
        )

    def started(self, job: Job) -> None:
        """Counts an attempt."""
        self._attempts.labels(job.queue).inc()
        if job.started is not None:
            self._waited.labels(job.queue).observe(max(0.0, job.started - job.ready))

    def retried(self, job: Job) -> None:
        """Counts an attempt that is followed by another."""
        self._failed(job)

    def ended(self, job: Job) -> None:
        """Counts the end of a job."""
        self._ended.labels(job.queue, job.state).inc()
        if job.state == "dead":
            self._failed(job)
        if job.started is not None and job.ended is not None:
            self._lasted.labels(job.queue, job.state).observe(max(0.0, job.ended - job.started))

    def worker_started(self, worker: WorkerInfo) -> None:
        """Shows a worker's slots."""
        self._slots.labels(worker.id, worker.backend).set(worker.slots)

    def worker_stopped(self, worker: WorkerInfo) -> None:
        """Takes them back."""
        self._slots.remove(worker.id, worker.backend)

    def scaled(self, decision: ScalingDecision) -> None:
        """Counts a decision."""
        self._wanted.set(decision.wanted)
        self._scaled.labels("up" if decision.wanted > decision.workers else "down").inc()

    def _failed(self, job: Job) -> None:
        if job.failure is not None:
            self._failures.labels(job.queue, job.failure.type).inc()
