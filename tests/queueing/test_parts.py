"""The small parts of queues: back-off, what may be tried again, slots, the health endpoint, payloads, URLs."""

from __future__ import annotations

import asyncio
import json
import traceback
import urllib.error
import urllib.request

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xagent_core import (
    BackendUnavailableError,
    ConfigError,
    ExecutionRequest,
    InputFile,
    InvalidRequestError,
    PolicyNotSupportedError,
    PoolTimeoutError,
    RetryPolicy,
    SandboxLostError,
    SandboxStartError,
    TaskQueue,
    UnknownLanguageError,
    get_queue,
    load_settings,
)
from xagent_core.queueing.health import Answer, HealthServer
from xagent_core.queueing.payload import decode, encode
from xagent_core.queueing.retry import failure_of
from xagent_core.queueing.slots import Slots
from xagent_core.queueing.store import without_secrets


def test_waits_double_with_jitter_and_have_an_end():
    policy = RetryPolicy(base=1, factor=2, most=10)
    for attempt, full in ((1, 1), (2, 2), (3, 4), (4, 8), (5, 10), (500, 10)):
        waits = [policy.delay(attempt) for _ in range(50)]
        assert full / 2 <= min(waits) < max(waits) <= full


@pytest.mark.parametrize("wrong", [{"attempts": 0}, {"base": -1}, {"factor": 0.5}, {"most": float("nan")}])
def test_a_policy_that_cannot_be(wrong):
    with pytest.raises(ConfigError):
        RetryPolicy(**wrong)


@pytest.mark.parametrize(
    ("error", "code_ran", "again"),
    [
        (SandboxLostError("b", "gone", code_ran="no"), "no", True),
        (SandboxLostError("b", "gone", code_ran="maybe"), "maybe", True),
        (SandboxStartError("b", "x"), "no", True),
        (BackendUnavailableError("b", "x"), "no", True),
        (PoolTimeoutError("b", "x"), "no", True),
        (UnknownLanguageError("b", "x"), "no", False),
        (PolicyNotSupportedError("b", "x"), "no", False),
        (InvalidRequestError("b", "x"), "no", False),
        (ZeroDivisionError("bug"), "maybe", True),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_what_may_be_tried_again(error, code_ran, again):
    failure, possible = failure_of(error)
    assert (failure.type, failure.code_ran, possible) == (type(error).__name__, code_ran, again)


async def test_slots_go_to_the_most_urgent_and_none_is_lost_to_a_cancellation():
    slots, order = Slots(1), []

    async def take(urgency, name):
        async with slots.taken(urgency):
            order.append(name)
            await asyncio.sleep(0)

    async with slots.taken(0):
        tasks = [asyncio.create_task(take(*what)) for what in ((1, "low"), (0, "high"), (1, "low too"), (0, "gone"))]
        await asyncio.sleep(0)
        tasks[3].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert order == ["high", "low", "low too"]
    assert slots.busy == 0


async def test_a_slot_given_to_who_is_cancelled_at_that_moment_passes_on():
    slots = Slots(1)

    async def take():
        async with slots.taken(0):
            pass

    async with slots.taken(0):
        first, second = asyncio.create_task(take()), asyncio.create_task(take())
        await asyncio.sleep(0)
    first.cancel()  # its place was given to it a moment ago
    await asyncio.wait_for(second, 30)
    assert slots.busy == 0


def test_the_health_endpoint():
    routes = {
        "/health": lambda: Answer(status=503, body={"status": "away"}),
        "/text": lambda: Answer(status=200, body="a 1\n", content_type="text/plain; version=0.0.4"),
    }
    with HealthServer("127.0.0.1:0", routes) as server:
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"http://127.0.0.1:{server.port}/health?x=1", timeout=10)
        with refused.value as response:
            assert (response.status, json.load(response)) == (503, {"status": "away"})
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/text", timeout=10) as answer:
            assert answer.read() == b"a 1\n"
            assert answer.headers["Content-Type"] == "text/plain; version=0.0.4"
        with pytest.raises(urllib.error.HTTPError) as missing:
            urllib.request.urlopen(f"http://127.0.0.1:{server.port}/", timeout=10)
        missing.value.close()
        assert missing.value.status == 404
        with pytest.raises(ConfigError, match="cannot be used"):
            HealthServer(f"127.0.0.1:{server.port}", routes).__enter__()
    with pytest.raises(ConfigError, match="is no address"):
        HealthServer("everywhere", routes)


@given(st.text(), st.binary(), st.binary())
def test_requests_survive_the_way_through_json(code, stdin, content):
    request = ExecutionRequest(code=code, stdin=stdin, files=(InputFile("a/b", content),), collect=("*",))
    assert decode(ExecutionRequest, encode(request)) == request


@pytest.mark.parametrize("text", ["", "[]", "{", '{"code": 1}', '{"code": "x", "limits": {"memory": 1}}'])
def test_what_is_no_request_is_refused(text):
    with pytest.raises(InvalidRequestError):
        decode(ExecutionRequest, text)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://u:hunter2@host:6379/0", "redis://***@host:6379/0"),
        ("redis://hunter2@host:6379/0", "redis://***@host:6379/0"),
        ("redis://:hunter2@host/1?password=hunter2", "redis://***@host/1"),
        ("redis://:hunter2@host/1?password=hunter@2", "redis://***"),
        ("redis://:hun/ter2@host:6379/0", "redis://***@host:6379/0"),
        ("redis://:hun#ter2@host:6379/0", "redis://***@host:6379/0"),
        ("redis://:hun@ter2@host:6379/0", "redis://***@host:6379/0"),
        ("redis://:hun?ter2@host:6379/0", "redis://***"),
        ("redis://:hun[ter2@host:6379/0", "redis://***@host:6379/0"),
        (":hunter2@host:6379/0", "***@host:6379/0"),
        ("redis://host:6379/0?password=hunter2", "redis://host:6379/0"),
        ("redis://host:6379/0", "redis://host:6379/0"),
    ],
)
def test_passwords_are_not_shown(url, shown):
    assert without_secrets(url) == shown


@pytest.mark.parametrize("password", ["hun/ter2", "hun#ter2", "hun?ter2", "hun[ter2", "12/hunter2", "12#hunter2"])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("docket", {"url": "redis://:{}@localhost:6379/0"}),
        ("celery", {"url": "redis://:{}@localhost:6379/0"}),
        ("celery", {"url": "amqp://u:{}@localhost", "store": "redis://localhost"}),
        ("celery", {"url": "amqp://localhost", "store": "redis://u:{}@localhost"}),
    ],
)
async def test_a_password_that_breaks_its_url_is_not_shown(name, options, password):
    given = {option: url.format(password) for option, url in options.items()}
    with pytest.raises(ConfigError, match="Percent-encode the password") as refused:
        async with get_queue(name, **given):
            pass
    told = "".join(traceback.format_exception(refused.value))
    assert "hun" not in told
    assert "ter2" not in told


def test_the_settings_name_a_queue(tmp_path):
    (tmp_path / "config.toml").write_text(
        'queue = "celery"\nqueue_url = "redis://:hunter2@a/0"\n[queues.celery]\nlongest = 60\nprefix = "p"\n'
    )
    settings = load_settings({"XAGENT_CONFIG": str(tmp_path / "config.toml")})
    assert "hunter2" not in repr(settings)
    queue = get_queue(settings=settings)
    assert (queue.name, queue.carrier.longest, queue.config.prefix) == ("celery", 60, "p")
    settings = load_settings({"XAGENT_CONFIG": str(tmp_path / "config.toml"), "XAGENT_QUEUE": "docket"})
    assert get_queue(settings=settings).name == "docket"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"lees": 3}, r"queues.NAME: unknown setting 'lees'. Known are .*lease.*prefix.*retry.*url"),
        ({"retry": {"no_such": 1}}, "queues.NAME.retry: unknown setting 'no_such'. Known are attempts, base"),
        ({"retry": 3}, "queues.NAME.retry: must be a table"),
        ({"retry": {"attempts": 2.5}}, "queues.NAME.retry: attempts must be a whole number, not 2.5"),
        ({"retry": {"base": float("inf")}}, "base=inf is out of bounds"),
        ({"lease": "soon"}, "queues.NAME: lease must be a number, not 'soon'"),
        ({"lease": True}, "lease must be a number, not True"),
        ({"lease": 0}, "lease=0 is out of bounds. Choose from 0.5"),
        ({"keep": float("inf")}, "keep=inf is out of bounds"),
        ({"resend": float("nan")}, "resend=nan is out of bounds"),
        ({"most_request": -1}, "most_request=-1 is out of bounds"),
        ({"most_result": 2.5}, "most_result must be a whole number"),
        ({"prefix": 3}, "prefix must be text, not int"),
        ({"url": 5}, "queues.NAME: url must be text, not int"),
        ({"url": "http://x"}, "is no URL that it knows"),
    ],
)
@pytest.mark.parametrize("name", ["docket", "celery"])
def test_options_that_cannot_be_used_are_refused(name, options, told):
    with pytest.raises(ConfigError, match=told.replace("NAME", name)):
        get_queue(name, **options)


@pytest.mark.parametrize("options", [{"store": 5}, {"longest": "1h"}, {"longest": True}])
def test_the_options_of_a_carrier_have_their_kinds(options):
    with pytest.raises(ConfigError, match=f"queues.celery: {next(iter(options))} must be"):
        get_queue("celery", **options)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"attempts": True}, "attempts must be a whole number, not True"),
        ({"attempts": "3"}, "attempts must be a whole number, not '3'"),
        ({"attempts": 0}, "attempts=0 is out of bounds. Choose from 1 to 1000"),
        ({"key": 3}, "key must be text, not int"),
        ({"key": ""}, "has 1 to 256 characters"),
        ({"queue": 3}, "queue must be text, not int"),
        ({"queue": "a b"}, "cannot be a queue's name"),
        ({"delay": "3"}, "delay must be a number, not '3'"),
        ({"delay": float("nan")}, "delay=nan is out of bounds"),
        ({"patience": float("nan")}, "patience=nan is out of bounds"),
        ({"idempotent": "no"}, "idempotent must be true or false, not str"),
        ({"headers": {"traceparent": 3}}, "header traceparent must be text, not int"),
    ],
)
async def test_values_of_the_wrong_kind_are_not_submitted(wrong, told):
    async with get_queue("docket", url="memory://") as queue:
        with pytest.raises(InvalidRequestError, match=told):
            await queue.submit("1", **wrong)
        assert await queue.jobs() == []


def test_the_patience_of_a_queue_is_a_number_of_seconds():
    with pytest.raises(ConfigError, match="patience=nan is out of bounds"):
        TaskQueue(get_queue("docket", url="memory://").carrier, patience=float("nan"))


def test_rabbitmq_needs_a_store():
    with pytest.raises(ConfigError, match="keeps no books"):
        get_queue("celery", url="amqp://localhost")
    assert get_queue("celery", url="amqp://localhost", store="redis://localhost").name == "celery"
