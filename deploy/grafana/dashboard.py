"""Writes the Grafana dashboard: `python deploy/grafana/dashboard.py`. Change it here, not in the JSON.

Each panel is a row of a table below; a test runs every query against a live Prometheus.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from grafana_foundation_sdk.builders import common, dashboard, prometheus, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import LegendDisplayMode, LegendPlacement
from grafana_foundation_sdk.models.dashboard import DataSourceRef

__all__ = ["ROWS", "Panel", "Query", "as_json"]

_SOURCE: Final = DataSourceRef(type_val="prometheus", uid="${datasource}")
_WIDTH: Final = 24
_HEIGHT: Final = 8


@dataclass(frozen=True, slots=True)
class Query:
    """An expression, and what its lines are called."""

    expression: str
    legend: str


@dataclass(frozen=True, slots=True)
class Panel:
    """A panel: its title, what it says, Grafana's name of its unit, and its queries."""

    title: str
    description: str
    unit: str
    queries: tuple[Query, ...]


def _quantiles(histogram: str, *labels: str) -> tuple[Query, ...]:
    by = ", ".join((*labels, "le"))
    legend = " ".join(f"{{{{{label}}}}}" for label in labels)
    return tuple(
        Query(
            f"histogram_quantile(0.{percent}, sum by ({by}) (rate({histogram}_bucket[$__rate_interval])))",
            f"p{percent} {legend}".strip(),
        )
        for percent in (50, 95)
    )


def _rate(counter: str, *labels: str) -> tuple[Query, ...]:
    by = f" by ({', '.join(labels)})" if labels else ""
    legend = " ".join(f"{{{{{label}}}}}" for label in labels)
    return (Query(f"sum{by} (rate({counter}[$__rate_interval]))", legend or "all"),)


ROWS: Final[dict[str, tuple[Panel, ...]]] = {
    "Alerts": (
        Panel(
            "Alerts that fire",
            "docs/runbook.md says what to do about each.",
            "short",
            (Query('count by (alertname) (ALERTS{alertstate="firing"}) or vector(0)', "{{alertname}}"),),
        ),
        Panel(
            "Processes that answer", "By job; 0 is one that does not.", "short", (Query("up", "{{job}} {{instance}}"),)
        ),
    ),
    "Queue": (
        Panel(
            "Jobs",
            "Waiting, delayed, running, and dead letters.",
            "short",
            (Query("sum by (queue, state) (xagent_queue_jobs)", "{{queue}} {{state}}"),),
        ),
        Panel(
            "Age of the oldest waiting job",
            "How long the next job has waited already.",
            "s",
            (Query("max by (queue) (xagent_queue_oldest_job_age_seconds)", "{{queue}}"),),
        ),
        Panel(
            "What happens to jobs",
            "Submitted, started, retried, finished, dead and cancelled, a second.",
            "ops",
            _rate("xagent_queue_events_total", "queue", "event"),
        ),
        Panel(
            "Wait for a worker",
            "From when a job could start to when it did.",
            "s",
            _quantiles("xagent_job_wait_seconds", "queue"),
        ),
        Panel(
            "Duration of jobs",
            "From the start of the last attempt to the end.",
            "s",
            _quantiles("xagent_job_duration_seconds", "queue"),
        ),
        Panel(
            "Attempts that fail",
            "By what they failed of, a second.",
            "ops",
            _rate("xagent_job_attempt_failures_total", "queue", "error"),
        ),
        Panel(
            "Workers",
            "That show signs of life.",
            "short",
            (Query("sum by (state) (xagent_queue_workers)", "{{state}}"),),
        ),
        Panel("Slots", "Of all workers.", "short", (Query("sum by (state) (xagent_queue_slots)", "{{state}}"),)),
    ),
    "Executions": (
        Panel(
            "Results", "Programs that came to a result, a second.", "ops", _rate("xagent_executions_total", "status")
        ),
        Panel("Results by language", "The same by language.", "ops", _rate("xagent_executions_total", "language")),
        Panel(
            "Errors of providers",
            "Executions that came to no result, a second.",
            "ops",
            _rate("xagent_execution_errors_total", "backend", "error"),
        ),
        Panel(
            "Phases",
            "How long programs wait for a sandbox, build, and run.",
            "s",
            _quantiles("xagent_execution_phase_duration_seconds", "backend", "phase"),
        ),
        Panel(
            "Programs that run",
            "Or wait for a sandbox.",
            "short",
            (Query("sum by (backend) (xagent_executions_running)", "{{backend}}"),),
        ),
        Panel(
            "CPU of programs",
            "CPU seconds of sandboxes a second.",
            "short",
            _rate("xagent_execution_cpu_seconds_total", "language"),
        ),
        Panel(
            "Peak memory of programs",
            "What stood by included.",
            "bytes",
            _quantiles("xagent_execution_peak_memory_bytes", "language"),
        ),
    ),
    "Sandboxes": (
        Panel(
            "Sandboxes",
            "That stand by, start, run and end.",
            "short",
            (Query("sum by (backend, state) (xagent_pool_sandboxes)", "{{backend}} {{state}}"),),
        ),
        Panel(
            "Callers that wait for a place",
            "Above 0 for long: raise pool.most, or add workers.",
            "short",
            (Query("sum by (backend) (xagent_pool_waiting_callers)", "{{backend}}"),),
        ),
        Panel(
            "Handed out",
            "Ready ones cost nothing; cold ones were started while their caller waited.",
            "ops",
            _rate("xagent_pool_sandboxes_handed_out_total", "backend", "kind"),
        ),
    ),
    "API": (
        Panel("Requests", "A second, by status.", "reqps", _rate("xagent_http_requests_total", "status")),
        Panel("Duration of requests", "By route.", "s", _quantiles("xagent_http_request_seconds", "route")),
    ),
    "Processes": (
        Panel("CPU", "Seconds a second.", "short", _rate("process_cpu_seconds_total", "job")),
        Panel("Memory", "Resident.", "bytes", (Query("sum by (job) (process_resident_memory_bytes)", "{{job}}"),)),
    ),
}


def _panel(panel: Panel, span: int) -> timeseries.Panel:
    built = (
        timeseries.Panel()
        .title(panel.title)
        .description(panel.description)
        .datasource(_SOURCE)
        .unit(panel.unit)
        .min(0)
        .span(span)
        .height(_HEIGHT)
        .legend(
            common.VizLegendOptions()
            .display_mode(LegendDisplayMode.LIST)
            .placement(LegendPlacement.BOTTOM)
            .show_legend(True)
        )
    )
    for number, query in enumerate(panel.queries):
        built.with_target(
            prometheus.Dataquery().expr(query.expression).legend_format(query.legend).ref_id(chr(ord("A") + number))
        )
    return built


def as_json() -> str:
    """The dashboard as Grafana reads it."""
    board = (
        dashboard.Dashboard("xagent")
        .uid("xagent")
        .tags(["xagent"])
        .refresh("30s")
        .time("now-1h", "now")
        .timezone("browser")
        .with_variable(dashboard.DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
    )
    for title, panels in ROWS.items():
        board.with_row(dashboard.Row(title))
        across = 2 if len(panels) % 2 == 0 else 3
        for panel in panels:
            board.with_panel(_panel(panel, _WIDTH // across))
    return JSONEncoder(sort_keys=True, indent=2).encode(board.build()) + "\n"


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("dashboards") / "xagent.json")
    output: Path = parser.parse_args().output
    output.parent.mkdir(exist_ok=True)
    output.write_text(as_json(), "utf-8")


if __name__ == "__main__":
    main()
