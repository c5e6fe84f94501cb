"""Shows the sandboxes of this process's engines as they were when they last changed."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from xagent_core import PoolStats

__all__ = ["Pools"]


class Pools(Collector):
    """The latest counts by backend; those of two engines with one backend in one process replace each other."""

    def __init__(self) -> None:
        self.latest: dict[str, PoolStats] = {}

    def collect(self) -> Iterator[Metric]:
        """What a scrape gets."""
        sandboxes = GaugeMetricFamily("xagent_pool_sandboxes", "Sandboxes by state.", labels=["backend", "state"])
        waiting = GaugeMetricFamily(
            "xagent_pool_waiting_callers",
            "Callers that have neither a sandbox nor a place to start one in.",
            labels=["backend"],
        )
        handed_out = CounterMetricFamily(
            "xagent_pool_sandboxes_handed_out",
            "Sandboxes given to callers: that stood by (ready), or were started for them (cold).",
            labels=["backend", "kind"],
        )
        discarded = CounterMetricFamily("xagent_pool_sandboxes_discarded", "Sandboxes destroyed.", labels=["backend"])
        for backend, stats in list(self.latest.items()):
            for state in ("ready", "starting", "running", "ending"):
                sandboxes.add_metric([backend, state], getattr(stats, state))
            waiting.add_metric([backend], stats.waiting)
            handed_out.add_metric([backend, "ready"], stats.handed_out_ready)
            handed_out.add_metric([backend, "cold"], stats.handed_out_cold)
            discarded.add_metric([backend], stats.discarded)
        yield from (sandboxes, waiting, handed_out, discarded)
