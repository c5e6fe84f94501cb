"""Whether anybody can read metrics in this process: a command that runs one program does not pay for them."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xagent_prometheus.metrics import Metrics

__all__ = ["ADDRESS", "metrics"]

ADDRESS = "XAGENT_METRICS_ADDRESS"


def metrics() -> Metrics | None:
    """The metrics of this process, if it has imported prometheus_client, or is told where to serve them."""
    if "prometheus_client" not in sys.modules and not os.environ.get(ADDRESS):
        return None
    from xagent_prometheus.metrics import process_metrics

    return process_metrics()
