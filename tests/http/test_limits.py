"""What a server takes: bodies, requests at once, requests a minute, seconds; and that nothing runs on for nobody."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from xagent_core.http.limits import Limited, RequestLimits


class Slow:
    """An application that runs until it is cancelled."""

    def __init__(self) -> None:
        self.running = asyncio.Event()
        self.cancelled = False

    async def __call__(self, scope, receive, send):  # noqa: ARG002
        await receive()
        self.running.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            self.cancelled = True
            raise


async def test_the_body_arrives_whole(call, echo):
    answer = await call(Limited(echo, RequestLimits()), method="POST", body=(b"a", b"b", b"c"))
    assert answer.sent[1]["body"] == b"abc"


@pytest.mark.parametrize(
    "sent",
    [
        {"body": (b"12345", b"67890")},
        {"headers": {"content-length": "10"}},
        {"headers": {"content-length": "-1"}},
        {"headers": {"content-length": "9" * 5000}},
    ],
)
async def test_a_body_that_is_too_large(call, echo, sent):
    refused = await call(Limited(echo, RequestLimits(body=9)), method="POST", **sent)
    assert refused.status == 413
    assert refused.json["error"]["cause"] == "the body is larger than 9 bytes"


async def test_a_body_that_does_not_come(new_call, echo):
    slow = new_call(Limited(echo, RequestLimits(body_seconds=0.05)), method="POST", body=())
    assert (await slow.run()).status == 408


async def test_a_request_that_nobody_waits_for_is_cancelled(new_call):
    app = Slow()
    call = new_call(Limited(app, RequestLimits()), method="POST")
    running = asyncio.create_task(call.run())
    await app.running.wait()
    call.gone.set()
    await asyncio.wait_for(running, 30)
    assert app.cancelled


async def test_where_the_protocol_cancels_a_closed_connection_does_not(new_call):
    app = Slow()
    call = new_call(Limited(app, RequestLimits(seconds=0.2), cancels=False), method="POST")
    call.gone.set()
    assert (await call.run()).status == 504


async def test_a_request_that_takes_too_long(call):
    app = Slow()
    refused = await call(Limited(app, RequestLimits(seconds=0.05)), method="POST")
    assert refused.status == 504
    assert app.cancelled


async def test_a_server_that_is_busy_still_answers_what_costs_nothing(new_call, call, echo):
    app = Slow()

    async def routed(scope, receive, send):
        await (app if scope["method"] == "POST" else echo)(scope, receive, send)

    limited = Limited(routed, RequestLimits(concurrent=1))
    first = new_call(limited, method="POST")
    running = asyncio.create_task(first.run())
    await app.running.wait()
    assert (await call(limited, method="POST")).status == 503
    assert (await call(limited)).status == 200
    running.cancel()
    assert (await running).json["error"]["cause"] == "the server has ended"
    assert app.cancelled
    again = asyncio.create_task(new_call(limited, method="POST").run())
    await asyncio.sleep(0.01)
    assert not again.done(), "its place is free again"
    again.cancel()


async def test_a_caller_who_has_the_whole_answer_finds_a_place(new_call, echo):
    loop = asyncio.get_running_loop()
    came: list[asyncio.Task] = []

    async def answering(scope, receive, send):
        await echo(scope, receive, send)
        if not came:  # what a caller sends upon an answer comes with the loop's next turn at the earliest
            loop.call_soon(lambda: came.append(asyncio.create_task(new_call(limited, method="POST").run())))

    limited = Limited(answering, RequestLimits(concurrent=1))
    assert (await new_call(limited, method="POST").run()).status == 200
    assert (await came[0]).status == 200


async def test_too_many_requests_of_one_address(call, echo, monkeypatch):
    now = 1000.0
    monkeypatch.setattr("xagent_core.http.limits.time", SimpleNamespace(monotonic=lambda: now))
    limited = Limited(echo, RequestLimits(per_minute=30), exempt=["/healthz"])
    assert [(await call(limited)).status for _ in range(4)] == [200, 200, 200, 429]
    refused = await call(limited)
    assert int(refused.answered["retry-after"]) >= 1
    assert (await call(limited, client=("203.0.113.6", 1))).status == 200
    assert (await call(limited, path="/healthz")).status == 200
    now += 2
    assert [(await call(limited)).status for _ in range(2)] == [200, 429]


async def test_an_error_of_the_application_is_the_servers_to_report(call):
    async def broken(scope, receive, send):
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await call(Limited(broken, RequestLimits()), method="POST")
