"""Whether anybody can read metrics in this process: a command that runs one program does not pay for them."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from xagent_prometheus.jobs import JobMetrics
    from xagent_prometheus.metrics import Metrics

__all__ = ["job_metrics", "metrics", "serve_if_told"]

_ADDRESS: Final = "XAGENT_METRICS_ADDRESS"


def metrics() -> Metrics | None:
    """The metrics of this process, if it has imported prometheus_client, or is told where to serve them."""
    if "prometheus_client" not in sys.modules and not os.environ.get(_ADDRESS):
        return None
    from xagent_prometheus.metrics import process_metrics

    return process_metrics()


def job_metrics() -> JobMetrics | None:
    """Those of jobs, under the same condition."""
    kept = metrics()
    return kept.jobs if kept else None


def serve_if_told() -> None:
    """Serves the metrics of this process at `XAGENT_METRICS_ADDRESS`, once, until it ends.

    Raises:
        ConfigError: The address cannot be read, or is taken.
    """
    if address := os.environ.get(_ADDRESS):
        from xagent_prometheus.server import serve_process

        metrics()  # there from the first scrape on
        serve_process(address)
