"""`submit`, `jobs`, `queue` and `worker`, with a real Redis and fake sandboxes."""

from __future__ import annotations

import json
import re
import signal
import time
import urllib.error
import urllib.request

import pytest

from xagent_core.testing.redis import RedisServer


@pytest.fixture(scope="module")
def redis(tmp_path_factory):
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def queued(xagent, redis, tmp_path):
    """The command line with a queue of its own."""
    (xagent.home / "config.toml").write_text(f'[queues.docket]\nprefix = "{tmp_path.name}"\n')
    disabled = [name for name in xagent.env["XAGENT_DISABLED_PLUGINS"].split(",") if name != "xagent-queue-docket"]
    xagent.env |= {
        "XAGENT_QUEUE_URL": redis.url(),
        "XAGENT_CONFIG": str(xagent.home / "config.toml"),
        "XAGENT_DISABLED_PLUGINS": ",".join(disabled),
    }
    return xagent


@pytest.fixture
def worker(queued):
    process = queued.start("worker", "--concurrency", "2", "--health", "127.0.0.1:0")
    yield process
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)


def until(check):
    """Waits for another process's doing."""
    deadline = time.monotonic() + 60
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_submit_watch_show_and_list(queued, worker, program):
    job = json.loads(queued("submit", program(stdout="out\n", stderr="err\n", exit_code=3), "--json").stdout)
    assert (job["state"], job["queue"], job["request"]["language"]) == ("queued", "default", "plain") or job["attempt"]
    watched = queued("jobs", "watch", job["id"])
    assert (watched.returncode, watched.stdout, watched.stderr) == (3, b"out\n", b"err\n")
    shown = json.loads(queued("jobs", "show", job["id"], "--json").stdout)
    assert (shown["state"], shown["attempt"], shown["result"]["exit_code"]) == ("finished", 1, 3)
    *events, last = map(json.loads, queued("jobs", "watch", job["id"], "--json", "--after", "1").stdout.splitlines())
    assert last == shown
    assert [event["sequence"] for event in events] == list(range(2, len(events) + 2))
    assert job["id"].encode() in queued("jobs", "list", "--state", "finished").stdout
    stats = json.loads(queued("queue", "stats", "--json").stdout)
    assert stats["queues"]["default"]["totals"]["finished"] == 1
    assert [one["slots"] for one in stats["workers"]] == [2]


def test_submit_takes_the_options_of_run(queued, worker, program):
    (queued.home / "data").write_text("content")
    file = program(echo=True)
    done = queued(
        "submit", file, "--watch", "-f", "data:in.txt", "-e", "NAME=value", "--memory", "64m", "--idempotent",
        "--key", "one", "--", "--flag", stdin=b"piped",
    )  # fmt: skip
    seen = json.loads(done.stdout)
    assert (seen["stdin"], seen["files"], seen["env"]["NAME"]) == ("piped", {"in.txt": "content"}, "value")
    assert (seen["argv"][-1], seen["memory"]) == ("--flag", 64 * 2**20)
    told = queued("submit", program(stdout="out"), "--watch", "--json").stdout.splitlines()
    first, *events, last = map(json.loads, told)
    assert first["id"] == last["id"]
    assert (events[-1]["kind"], last["state"], last["result"]["output"]) == ("ended", "finished", "out")


ECHO = """
from langchain_core.tools import ToolException, tool
from xagent_core import ToolRegistration, hookimpl


@tool
def echo(text: str) -> list:
    "Says it again."
    if not text:
        raise ToolException("there is nothing to say")
    return [{"type": "text", "text": text}]


@hookimpl
def xagent_register_tools():
    return [ToolRegistration(name="echo", summary="", factory=lambda context: echo)]
"""


def test_a_tool_is_called(queued):
    queued.install("echo-tools", "echo_tools", ECHO)
    worker = queued.start("worker", "--workspace", "files")
    try:
        (queued.home / "arguments.json").write_text('{"text": "hello"}')
        job = queued("submit", "--tool", "echo", "--arguments", "@arguments.json").stdout.decode().strip()
        watched = queued("jobs", "watch", job)
        assert (watched.returncode, json.loads(watched.stdout)) == (0, [{"type": "text", "text": "hello"}])
        shown = json.loads(queued("jobs", "show", job, "--json").stdout)
        assert shown["request"] == {"name": "echo", "arguments": {"text": "hello"}}
        assert (shown["result"]["status"], shown["result"]["artifact"]) == ("success", None)
        table = queued("jobs", "show", job).stdout
        assert all(part in table for part in (b"echo", b'{"text": "hello"}', b"success"))
        assert b"tool echo" in queued("jobs", "list").stdout
        failed = queued("submit", "--tool", "echo", "--arguments", '{"text": ""}', "--watch")
        assert (failed.returncode, failed.stdout) == (1, b"there is nothing to say\n")
        assert (queued.home / "files").is_dir()
    finally:
        worker.send_signal(signal.SIGTERM)
        worker.communicate(timeout=60)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--arguments", "{}"),
        ("--tool", "echo", "--timeout", "3"),
        ("--tool", "echo", "--", "x"),
        ("--tool", "echo", "--arguments", "{"),
    ],
    ids=" ".join,
)
def test_a_call_that_cannot_be_is_refused(queued, arguments):
    assert queued("submit", *arguments).returncode == 2


def test_cancel(queued, worker, program):
    job = queued("submit", program(exit_code=None)).stdout.decode().strip()
    assert re.fullmatch("[0-9a-f]{32}", job)
    assert queued("jobs", "cancel", job).returncode == 0
    watched = queued("jobs", "watch", job)
    assert watched.returncode == 125
    assert b"is cancelled" in watched.stderr


def test_a_dead_letter_is_requeued(queued, worker):
    job = queued("submit", "--code", "no JSON", "--language", "plain").stdout.decode().strip()
    watched = queued("jobs", "watch", job)
    assert watched.returncode == 125
    assert b"is dead: JSONDecodeError" in watched.stderr
    assert job.encode() in queued("jobs", "list", "--state", "dead").stdout
    again = json.loads(queued("jobs", "requeue", job, "--json").stdout)
    assert (again["id"], again["attempts"]) == (job, 4)


def test_sigterm_drains_a_worker(queued, program):
    worker = queued.start("worker", "--concurrency", "1")
    job = queued("submit", program(pieces=[("stdout", "a"), ("stdout", "b")], pause=1.0)).stdout.decode().strip()
    deadline = time.monotonic() + 60
    while json.loads(queued("jobs", "show", job, "--json").stdout)["state"] == "queued":
        assert time.monotonic() < deadline
    worker.send_signal(signal.SIGTERM)
    worker.communicate(timeout=60)
    assert worker.returncode == 0
    assert json.loads(queued("jobs", "show", job, "--json").stdout)["state"] == "finished"
    assert json.loads(queued("queue", "stats", "--json").stdout)["workers"] == []
    assert queued.note == "closed, alive: 0\n"


def test_a_second_signal_stops_what_the_workers_of_a_scaler_run(queued, program):
    scaler = queued.start("worker", "--autoscale", "1:2", "--concurrency", "1")
    job = queued("submit", program(exit_code=None)).stdout.decode().strip()
    try:
        until(lambda: json.loads(queued("jobs", "show", job, "--json").stdout)["state"] == "running")
        scaler.send_signal(signal.SIGTERM)
        scaler.send_signal(signal.SIGINT)
        scaler.communicate(timeout=60)
    finally:
        scaler.kill()
    assert scaler.returncode == 0
    assert json.loads(queued("jobs", "show", job, "--json").stdout)["state"] == "dead"
    assert json.loads(queued("queue", "stats", "--json").stdout)["workers"] == []


class Health:
    """What a worker answers that takes a free port for it, and tells in its log which."""

    def __init__(self, queued, *options):
        self._log = queued.home / "log"
        with self._log.open("wb") as log:
            self.worker = queued.start("worker", *options, "--health", "127.0.0.1:0", stderr=log)

    def until(self, status, word):
        """Waits for an answer: it listens before it has reached the queue for the first time."""
        found = []

        def answered():
            found.append(self._ask())
            return found[-1] is not None and (found[-1][0], found[-1][1]["status"]) == (status, word)

        until(answered)
        return found[-1][1]

    def end(self):
        self.worker.send_signal(signal.SIGTERM)
        self.worker.communicate(timeout=60)

    def _ask(self):
        told = re.search(r"is answered on port (\d+)\n", self._log.read_text())
        if told is None:
            assert self.worker.poll() is None, self._log.read_text()
            return None
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{told[1]}/health", timeout=20) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as answer:
            return answer.code, json.load(answer)


def test_health(queued):
    health = Health(queued)
    try:
        assert health.until(200, "ok")["worker"]["backend"] == "fake"
    finally:
        health.end()


def test_the_health_of_a_scaler_whose_server_is_away(queued, tmp_path):
    with (queued.home / "config.toml").open("a") as config:
        config.write("lease = 1.0\n")
    server = RedisServer(tmp_path)
    queued.env["XAGENT_QUEUE_URL"] = server.url()
    server.start()
    health = Health(queued, "--autoscale", "1:2")
    try:
        health.until(200, "ok")
        server.kill()
        health.until(503, "away")
        server.start()
        health.until(200, "ok")
    finally:
        health.end()
        server.kill()


@pytest.mark.parametrize("scaling", [(), ("--autoscale", "1:2")], ids=["one", "many"])
@pytest.mark.parametrize("wrong", [("--backend", "nope"), ("--queues", ",")], ids=" ".join)
def test_a_worker_that_cannot_begin_ends_at_once(queued, scaling, wrong):
    done = queued("worker", *scaling, *wrong)
    assert done.returncode == 2
    assert done.stderr.count(b"xagent: ") == 1
    assert wrong[1].encode() in done.stderr


def test_a_queue_without_a_server_is_refused(queued, program):
    done = queued("submit", program(), XAGENT_QUEUE_URL="memory://")
    assert done.returncode == 125
    assert b"lives in one process alone" in done.stderr


def test_a_server_that_is_away_is_said_to_be(queued, program):
    done = queued("submit", program(), "--json", XAGENT_QUEUE_URL="redis://:hunter2@127.0.0.1:1/0")
    assert done.returncode == 125
    error = json.loads(done.stdout)["error"]
    assert error["type"] == "QueueUnavailableError"
    assert b"hunter2" not in done.stdout + done.stderr


@pytest.mark.parametrize("arguments", [("jobs", "show", "nope"), ("jobs", "cancel", "nope"), ("jobs", "watch", "nope")])
def test_a_job_that_is_not_there(queued, arguments):
    done = queued(*arguments)
    assert done.returncode == 2
    assert b"no such job" in done.stderr
