"""The deployed configurations at work: a live worker is scraped, each panel shows something, an alert arrives."""

from __future__ import annotations

import asyncio
import itertools
import json
import socket
import urllib.request
from typing import Any

import pytest
import yaml

from tests.deploy.conftest import DEPLOY
from tests.deploy.stack import Stack
from xagent_core import get_queue, load_settings

pytestmark = [pytest.mark.slow, pytest.mark.engine("bubblewrap"), pytest.mark.xdist_group("deployment")]

BOARD = json.loads((DEPLOY / "grafana/dashboards/xagent.json").read_text("utf-8"))
PANELS = [panel for panel in BOARD["panels"] if panel["type"] != "row"]


@pytest.fixture(scope="module")
def stack(tmp_path_factory, program, deploy):
    with Stack(tmp_path_factory.mktemp("stack"), program, deploy) as stack:
        stack.wait_for(lambda: stack.value("sum(up)") == 4)
        stack.job = json.loads(stack.xagent("submit", "--json", "--code", "print(0)"))["id"]
        asyncio.run(submit(stack, *({"code": f"print({number})"} for number in range(5))))
        stack.wait_for(lambda: stack.value('sum(xagent_queue_events_total{event="finished"})') == 6)
        # No worker can run it: a dead letter.
        asyncio.run(submit(stack, {"code": "package main", "language": "go", "memory_limit": "16m"}))
        call_the_api(stack)
        yield stack


async def submit(stack: Stack, *jobs: dict[str, Any]) -> None:
    settings = load_settings({"XAGENT_CONFIG": str(stack.config)})
    async with get_queue("docket", settings=settings) as queue:
        for job in jobs:
            await queue.submit(**job)


def call_the_api(stack: Stack) -> None:
    request = urllib.request.Request(
        f"http://{stack.address('api')}/tools/execute_code/invoke",
        data=json.dumps({"input": {"code": "print(6 * 7)", "language": "python"}}).encode(),
        headers={"Authorization": f"Bearer {stack.token}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert "42" in json.load(answer)["output"]["output"]


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_every_panel_shows_something(panel, stack):
    for target in panel["targets"]:
        expression = target["expr"].replace("$__rate_interval", "5m")
        stack.answers(expression)


@pytest.mark.parametrize("name", ["redis", "worker", "exporter", "api"])
def test_what_is_well_passes_its_health_check(name, stack):
    stack.wait_for(lambda: stack.is_healthy(name))


def test_the_queues_server_asks_for_its_password(stack):
    with socket.create_connection(("127.0.0.1", stack.ports["redis"]), 30) as connection:
        connection.sendall(b"PING\r\n")
        assert connection.makefile("rb").readline().startswith(b"-NOAUTH")


def test_the_clusters_scaler_gets_a_number(stack, deploy):
    manifests = yaml.safe_load_all((deploy / "kubernetes/scaling.yaml").read_text("utf-8"))
    (scaled,) = [manifest for manifest in manifests if manifest["kind"] == "ScaledObject"]
    (trigger,) = scaled["spec"]["triggers"]
    answers = stack.answers(trigger["metadata"]["query"])
    assert [float(answer["value"][1]) >= 0 for answer in answers] == [True]


def test_the_worker_says_what_it_ran(stack):
    stack.wait_for(lambda: stack.value('sum(xagent_jobs_total{queue="default"})') == 7)
    for expression, value in (
        ('xagent_jobs_total{state="finished"}', 6),
        ('xagent_executions_total{job="xagent-worker", status="success"}', 6),
        ('xagent_worker_slots{backend="bubblewrap"}', 2),
    ):
        assert [float(answer["value"][1]) for answer in stack.answers(expression)] == [value]


def test_an_alert_arrives_where_people_are(stack):
    def of_the_dead() -> list[dict[str, Any]]:
        return [message for message in list(stack.listener.messages) if "#xagentdeadletters" in json.dumps(message)]

    stack.wait_for(of_the_dead)
    message = of_the_dead()[0]
    assert message["channel"] == "#xagent"
    assert "docs/runbook.md#xagentdeadletters" in json.dumps(message)


def test_the_worker_logs_json_that_names_the_job(stack):
    stack.wait_for(lambda: any('"dead"' in line for line in stack.log("worker")))
    assert [line for line in stack.log("worker") if not line.startswith("{")] == []
    records = [json.loads(line) for line in stack.log("worker")]
    ended = [record for record in records if record["message"] == "job ended"]
    assert {record["state"] for record in ended} == {"finished", "dead"}
    (last,) = [record for record in ended if record["job"] == stack.job]
    assert last["trace"]
    assert {"time", "level", "logger", "attempt", "queue"} <= last.keys()
    assert not any("print(" in line for line in stack.log("worker"))


def test_a_trace_leads_from_the_submission_into_the_sandbox(stack):
    chain = ["send default", "process default", "xagent.execute", "xagent.run"]
    complete = lambda spans: {*chain, "xagent.acquire"} <= spans.keys()  # noqa: E731
    stack.wait_for(lambda: any(complete(spans) for spans in list(stack.listener.traces.values())))
    spans = next(spans for spans in list(stack.listener.traces.values()) if complete(spans))
    for parent, child in itertools.pairwise(chain):
        assert spans[child].parent_span_id == spans[parent].span_id
    assert spans["xagent.acquire"].parent_span_id == spans["xagent.execute"].span_id
