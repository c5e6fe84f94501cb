"""The metrics of a task queue, as its books have them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from xagent_core import QueueError, QueueStats, TaskQueue

__all__ = ["Queues", "watch"]

logger = logging.getLogger(__name__)


class Queues(Collector):
    """The latest look into the books. While they do not answer, it shows that, and nothing that is not so any more."""

    def __init__(self) -> None:
        self.latest: QueueStats | None = None

    def collect(self) -> Iterator[Metric]:
        """What a scrape gets."""
        stats = self.latest
        yield GaugeMetricFamily("xagent_queue_up", "Whether the queue's books answer.", value=float(stats is not None))
        if stats is None:
            return
        yield from _jobs(stats)
        yield from _workers(stats)


def _jobs(stats: QueueStats) -> Iterator[Metric]:
    jobs = GaugeMetricFamily(
        "xagent_queue_jobs", "Jobs by state: those that have not ended, and dead letters.", labels=["queue", "state"]
    )
    age = GaugeMetricFamily(
        "xagent_queue_oldest_job_age_seconds",
        "Seconds that the oldest waiting job could have started for; 0 where none waits.",
        labels=["queue"],
    )
    events = CounterMetricFamily(
        "xagent_queue_events",
        "Jobs submitted, finished, dead and cancelled, and attempts started and retried, of all workers.",
        labels=["queue", "event"],
    )
    for queue, depth in stats.queues.items():
        for state in ("waiting", "delayed", "running", "dead"):
            jobs.add_metric([queue, state], getattr(depth, state))
        age.add_metric([queue], depth.oldest_age)
        for event, count in depth.totals.items():
            events.add_metric([queue, event], count)
    yield from (jobs, age, events)


def _workers(stats: QueueStats) -> Iterator[Metric]:
    workers = GaugeMetricFamily("xagent_queue_workers", "Workers that show signs of life, by state.", labels=["state"])
    draining = sum(worker.draining for worker in stats.workers)
    workers.add_metric(["active"], len(stats.workers) - draining)
    workers.add_metric(["draining"], draining)
    slots = GaugeMetricFamily("xagent_queue_slots", "Slots of all workers, by state.", labels=["state"])
    busy = sum(worker.busy for worker in stats.workers)
    slots.add_metric(["busy"], busy)
    slots.add_metric(["free"], sum(worker.slots for worker in stats.workers) - busy)
    yield from (workers, slots)


async def watch(queue: TaskQueue, queues: Queues, *, every: float, until: asyncio.Event) -> None:
    """Looks into the books again and again.

    Args:
        queue: It is open.
        queues: Gets what is found.
        every: Seconds between two looks.
        until: Ends it.
    """
    while not until.is_set():
        try:
            async with asyncio.timeout(max(every, 5.0)):
                queues.latest = await queue.stats()
        except (QueueError, TimeoutError) as error:
            if queues.latest is not None:
                logger.warning("the books do not answer: %s", error)
            queues.latest = None
        try:
            async with asyncio.timeout(every):
                await until.wait()
        except TimeoutError:
            continue
