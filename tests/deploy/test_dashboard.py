"""The dashboard is what its program writes, and asks for metrics that there are."""

from __future__ import annotations

import json
import re
import subprocess
import sys

from prometheus_client import CollectorRegistry
from xagent_prometheus.metrics import Metrics
from xagent_prometheus.queues import Queues

from tests.deploy.conftest import DEPLOY
from xagent_core import PoolStats, QueueDepth, QueueStats

BOARD = DEPLOY / "grafana/dashboards/xagent.json"


def exported() -> set[str]:
    """The names of all metrics of the plugin."""
    registry = CollectorRegistry()
    queues = Queues()
    depth = QueueDepth(waiting=0, delayed=0, running=0, dead=0, oldest_age=0, totals={"submitted": 0})
    queues.latest = QueueStats(queues={"default": depth}, workers=())
    registry.register(queues)
    Metrics(registry).pool_changed(
        "fake", PoolStats(ready=0, starting=0, running=0, ending=0, waiting=0, handed_out_ready=0, handed_out_cold=0,
                          discarded=0)
    )  # fmt: skip
    names = set()
    for metric in registry.collect():
        suffixes = {"counter": ("_total",), "histogram": ("_bucket",)}.get(metric.type, ("",))
        names |= {f"{metric.name}{suffix}" for suffix in suffixes}
    return names


def asked_for(text: str) -> set[str]:
    names = set(re.findall(r"\b(xagent_\w+)", text))
    return {name for name in names if not name.startswith("xagent_http_")}  # those are the server's own


def test_the_dashboard_is_the_one_that_its_program_writes(tmp_path):
    written = tmp_path / "xagent.json"
    subprocess.run([sys.executable, DEPLOY / "grafana/dashboard.py", "--output", written], check=True)
    assert written.read_text("utf-8") == BOARD.read_text("utf-8")


def test_panels_and_alerts_ask_for_metrics_that_there_are():
    board = json.loads(BOARD.read_text("utf-8"))
    expressions = [target["expr"] for panel in board["panels"] for target in panel.get("targets", ())]
    alerts = (DEPLOY / "prometheus/alerts.yml").read_text("utf-8")
    for text in (*expressions, *re.findall(r"expr: (?:>-\n)?((?:.*\n)+?)        for:", alerts)):
        assert asked_for(text) <= exported()


def test_every_metric_is_in_the_documentation():
    page = (DEPLOY.parent / "docs/monitoring.md").read_text("utf-8")
    documented = set(re.findall(r"^\| `(xagent_\w+?)(?:_bucket)?`", page, re.MULTILINE))
    assert {name.removesuffix("_bucket") for name in exported()} <= documented
