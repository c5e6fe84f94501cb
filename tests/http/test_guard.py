"""Who is let in: the token's holder, or without a token this user; never a page of another origin."""

from __future__ import annotations

import asyncio
import os

import pytest

from xagent_core import ConfigError
from xagent_core.http.guard import Guard
from xagent_core.http.peer import is_loopback, is_own_process
from xagent_core.http.token import TOKEN_VARIABLE, Token, find_token

TOKEN = "correct-horse-battery-staple"
BEARER = {"host": "localhost:8000", "authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def guarded(echo):
    return Guard(echo, token=Token(TOKEN), hosts=["xagent.example"], public=["/healthz", "/static/"], login="/login")


@pytest.mark.parametrize("shown", [f"Bearer {TOKEN}", f"bearer  {TOKEN}"])
async def test_the_token_opens(call, guarded, shown):
    assert (await call(guarded, headers=BEARER | {"authorization": shown})).status == 200


@pytest.mark.parametrize(
    "shown", ["", "Bearer", "Bearer wrong-horse-battery-staple", f"Basic {TOKEN}", TOKEN, "Bearer é"]
)
async def test_anything_else_does_not(call, guarded, shown):
    refused = await call(guarded, headers={"host": "localhost", "authorization": shown})
    assert refused.status == 401
    assert refused.answered["www-authenticate"] == "Bearer"
    assert TOKEN not in str(refused.sent)


async def test_public_paths_need_no_token(call, guarded):
    for path, status in (("/healthz", 200), ("/static/a.js", 200), ("/healthz/x", 401), ("/static", 401)):
        assert (await call(guarded, path=path, headers={"host": "localhost"})).status == status, path


async def test_a_browser_is_sent_to_the_login(call, guarded):
    asked = await call(guarded, headers={"host": "localhost", "accept": "text/html,*/*"})
    assert (asked.status, asked.answered["location"]) == (303, "/login")


async def test_another_way_in_can_be_given(call, echo):
    guarded = Guard(echo, token=Token(TOKEN), admits=lambda scope: scope["path"] == "/in")
    assert (await call(guarded, path="/in", headers={"host": "localhost"})).status == 200
    assert (await call(guarded, path="/out", headers={"host": "localhost"})).status == 401


@pytest.mark.parametrize("host", ["localhost", "localhost:9", "127.0.0.1:8000", "[::1]:8000", "XAGENT.example"])
async def test_the_server_answers_to_its_own_names(call, guarded, host):
    assert (await call(guarded, headers=BEARER | {"host": host})).status == 200


@pytest.mark.parametrize("host", ["", "evil.example", "localhost.evil.example", "[::1", "xagent.example@evil.example"])
async def test_a_name_that_was_bent_to_this_address_is_refused(call, guarded, host):
    assert (await call(guarded, headers=BEARER | {"host": host})).status == 421


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"origin": "http://localhost:8000"}, 200),
        ({"origin": "http://localhost:3000"}, 403),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://["}, 403),
        ({"origin": "http://localhost:8000@evil.example"}, 403),
        ({"sec-fetch-site": "same-origin"}, 200),
        ({"sec-fetch-site": "none"}, 200),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
    ],
)
async def test_no_page_of_another_origin_can_make_a_call(call, guarded, headers, status):
    assert (await call(guarded, method="POST", headers=BEARER | headers)).status == status


async def test_every_answer_has_the_headers_that_keep_browsers_from_harm(call, guarded):
    for answer in (await call(guarded, headers=BEARER), await call(guarded, headers={"host": "localhost"})):
        assert answer.answered["x-content-type-options"] == "nosniff"
        assert answer.answered["x-frame-options"] == "DENY"
        assert "default-src 'none'" in answer.answered["content-security-policy"]
    assert (await call(guarded, headers=BEARER)).answered["cache-control"] == "max-age=60"


async def test_websockets_are_closed(guarded, new_call):
    socket = new_call(guarded)
    await guarded({"type": "websocket"}, socket.receive, socket.send)
    assert socket.sent == [{"type": "websocket.close", "code": 1008}]


async def connected(uid: int | None = None):
    """A caller in a process of its own on a loopback socket: this end's two addresses, and the process."""
    addresses: asyncio.Future = asyncio.get_running_loop().create_future()

    async def take(_reader, writer):
        addresses.set_result((writer.get_extra_info("peername")[:2], writer.get_extra_info("sockname")[:2]))
        await asyncio.sleep(0)
        writer.close()

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    code = "import socket, sys; s = socket.create_connection(('127.0.0.1', int(sys.argv[1]))); sys.stdin.read()"
    become = {} if uid is None else {"user": uid}
    port = str(server.sockets[0].getsockname()[1])
    caller = await asyncio.create_subprocess_exec("python3", "-c", code, port, stdin=asyncio.subprocess.PIPE, **become)
    ends = await addresses
    server.close()
    return (*ends, caller)


@pytest.mark.parametrize(
    ("uid", "own"),
    [(None, True), pytest.param(65534, False, marks=pytest.mark.skipif(os.geteuid() != 0, reason="becomes a user"))],
)
async def test_without_a_token_only_this_user_is_let_in(call, echo, uid, own):
    client, server, caller = await connected(uid)
    try:
        assert is_own_process(client, server) is own
        guarded = Guard(echo, token=None)
        answer = await call(guarded, headers={"host": "localhost"}, client=client, server=server)
        assert answer.status == (200 if own else 403)
    finally:
        caller.stdin.close()
        await caller.wait()


def test_a_caller_that_the_kernel_does_not_know_is_not_let_in():
    assert not is_own_process(("127.0.0.1", 1), ("127.0.0.1", 2))
    assert not is_own_process(("203.0.113.5", 1), ("127.0.0.1", 2))
    assert not is_own_process(None, ("127.0.0.1", 2))


def test_loopback_addresses():
    assert all(map(is_loopback, ("127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "10.0.0.1", "localhost", "")))


def test_a_token_is_found_and_never_shown(tmp_path, capsys):
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\nsecond line\n")
    environ = {TOKEN_VARIABLE: "from-the-environment"}
    assert find_token(file, environ).matches(TOKEN)
    assert environ == {}, "no child inherits it"
    assert find_token(None, {TOKEN_VARIABLE: f"{TOKEN}\n"}).matches(TOKEN)
    assert find_token(None, {}) is None
    assert TOKEN not in f"{Token(TOKEN)} {Token(TOKEN)!r}"
    assert len(Token.made().reveal()) > 40
    assert Token.made().reveal() != Token.made().reveal()


@pytest.mark.parametrize("value", ["", "short", "with spaces in the middle", "not-ascii-ä-not-ascii"])
def test_what_cannot_be_a_token(tmp_path, value):
    file = tmp_path / "token"
    file.write_text(value)
    with pytest.raises(ConfigError, match="at least 16 printable ASCII") as raised:
        find_token(file, {})
    assert not value or value not in str(raised.value)
    with pytest.raises(ConfigError, match="cannot be read"):
        find_token(tmp_path / "missing", {})
