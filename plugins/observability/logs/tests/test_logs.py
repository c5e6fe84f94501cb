"""Records are JSON, name the job that they belong to, and never say what its code is."""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys

import pytest
from xagent_logs.formatting import use_json
from xagent_logs.records import about

from xagent_core import ExecutionRequest, ExecutionResult, Job, JobFailure, ToolCall, ToolResult
from xagent_core.queueing.observing import current_job

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def make_job(**fields) -> Job:
    given = {
        "id": "j1",
        "queue": "default",
        "state": "running",
        "request": ExecutionRequest(code="secret = 1", language="python"),
        "attempt": 2,
        "headers": {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"},
    }
    return Job(**given | fields)


@pytest.fixture
def log():
    """A logger of its own, and what it wrote."""
    logger = logging.Logger("library")  # noqa: LOG001 - not the one that other tests get
    stream = io.StringIO()
    logger.addHandler(logging.StreamHandler(stream))
    use_json(logger)
    logger.written = lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    return logger


def test_a_record_is_a_line_of_json(log):
    log.warning("two\nlines of %s", "text", extra={"customer": 7})
    (record,) = log.written()
    assert record.pop("time")
    assert record == {"level": "WARNING", "logger": "library", "message": "two\nlines of text", "customer": 7}


def test_what_is_logged_while_a_job_runs_names_it(log):
    token = current_job.set(make_job())
    try:
        log.info("by any library")
    finally:
        current_job.reset(token)
    log.info("by nobody's job")
    inside, outside = log.written()
    assert (inside["job"], inside["attempt"], inside["queue"], inside["trace"]) == ("j1", 2, "default", TRACE)
    assert "job" not in outside


def test_an_exception_is_part_of_its_record(log):
    try:
        raise ValueError("no")
    except ValueError:
        log.exception("it failed")
    (record,) = log.written()
    assert "ValueError: no" in record["exc_info"]


def test_told_twice_it_says_things_once(log):
    use_json(log)
    log.warning("once")
    assert len(log.written()) == 1


def test_a_job_that_ended_is_described_without_its_code():
    result = ExecutionResult(
        status="timeout", output="secret", error="", exit_code=None, execution_time=1, language="python", backend="fake"
    )
    said = about(make_job(state="finished", result=result, ready=10.0, started=10.5, ended=12.0))
    assert (said["status"], said["waited"], said["seconds"]) == ("timeout", 0.5, 1.5)
    assert "secret" not in json.dumps(said)
    failure = JobFailure(type="WorkerLostError", component="worker w", cause="it was lost")
    dead = about(make_job(state="dead", failure=failure))
    assert (dead["state"], dead["error"], dead["cause"]) == ("dead", "WorkerLostError", "it was lost")


def test_a_tool_s_call_is_described_without_its_arguments():
    call = ToolCall(name="think", arguments={"thought": "secret"})
    said = about(make_job(state="finished", request=call, result=ToolResult(content="secret", status="error")))
    assert (said["tool"], said["status"]) == ("think", "error")
    assert "secret" not in json.dumps(said)


@pytest.mark.parametrize(("value", "is_json"), [("json", True), ("", False)])
def test_the_environment_switches_it_on(value, is_json):
    program = """
import logging
from xagent_core import load_plugins
logging.basicConfig()
load_plugins().observe("xagent_process_started", command="worker")
logging.getLogger("x").warning("hello")
"""
    env = os.environ | {"XAGENT_LOG_FORMAT": value}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=env)
    assert done.stderr.startswith("{") is is_json
