"""`xagent mcp` as clients meet it: the SDK's own client, over stdio and HTTP, with a real process and sandbox."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sysconfig
import time
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import mcp.types as types
import pytest
from langchain_core.messages import ToolMessage
from mcp import ClientSession, McpError, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client
from xagent_server_mcp.content import result_of
from xagent_server_mcp.http import serve_http
from xagent_server_mcp.server import make_server

from xagent_core.http.limits import RequestLimits
from xagent_core.http.options import Entry
from xagent_core.http.server import open_door

pytestmark = [pytest.mark.engine("bubblewrap"), pytest.mark.xdist_group("mcp")]

XAGENT = str(Path(sysconfig.get_path("scripts"), "xagent"))
OPTIONS = ["--backend", "bubblewrap"]
NOISY = """
from xagent_core import ToolRegistration, hookimpl


@hookimpl
def xagent_register_tools():
    return [ToolRegistration(name="noisy", summary="Prints", factory=_noisy)]


def _noisy(context):
    import os, subprocess
    from langchain_core.tools import tool

    @tool
    def noisy(fail: bool = False) -> str:
        \"\"\"Prints where the protocol is spoken, as a careless library does.\"\"\"
        print("printed", flush=True)
        subprocess.run(["sh", "-c", "echo from a child; cat"])
        os.write(1, b"written")
        if fail:
            raise RuntimeError("it broke")
        return "quiet"

    return noisy
"""


@pytest.fixture(scope="module")
def environ(tmp_path_factory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("noisy")
    (folder / "noisy_tool.py").write_text(NOISY)
    info = folder / "noisy_tool-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: noisy-tool\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[xagent]\nnoisy = noisy_tool\n")
    return {**os.environ, "PYTHONPATH": str(folder), "PYTHONWARNINGS": "error"}


class Server:
    """`xagent mcp --http`, running."""

    def __init__(self, environ, *options):
        command = [XAGENT, "mcp", "--http", "--port", "0", *OPTIONS, *options]
        self.process = subprocess.Popen(command, env=environ, stderr=subprocess.PIPE, text=True)
        lines = [self.process.stderr.readline() for _ in range(2)]
        self.url = re.search(r"at (\S+)", lines[0])[1]
        self.token = (re.search(r"only now: (\S+)", lines[1]) or ["", ""])[1]

    def stop(self):
        self.process.terminate()
        self.process.wait(60)
        self.process.stderr.close()


@pytest.fixture(scope="module")
def server(environ):
    server = Server(environ, "--token")
    yield server
    server.stop()


@asynccontextmanager
async def over_stdio(environ, log):
    parameters = StdioServerParameters(command=XAGENT, args=["mcp", *OPTIONS], env=environ)
    async with stdio_client(parameters, errlog=log) as streams:
        yield streams


@asynccontextmanager
async def over_http(server):
    headers = {"Authorization": f"Bearer {server.token}"}
    async with (
        httpx.AsyncClient(headers=headers, timeout=60, trust_env=False) as client,
        streamable_http_client(server.url, http_client=client) as (reading, writing, _session),
    ):
        yield reading, writing


@pytest.fixture(params=["stdio", "http"])
def connect(request, environ, tmp_path):
    """Opens a session with the server, over either of the two."""

    @asynccontextmanager
    async def connected(**options):
        with (tmp_path / "log").open("w") as log:
            way = over_stdio(environ, log) if request.param == "stdio" else over_http(request.getfixturevalue("server"))
            async with way as (reading, writing), ClientSession(reading, writing, **options) as session:
                await session.initialize()
                yield session

    return connected


async def test_a_client_lists_and_calls_and_sees_output_as_it_comes(connect):
    told: list[tuple[float, str | None]] = []
    logged: list[types.LoggingMessageNotificationParams] = []

    async def progress(seconds, _total, message):
        told.append((seconds, message))

    async def log(params):
        logged.append(params)

    async with connect(logging_callback=log) as session:
        tools = {tool.name: tool for tool in (await session.list_tools()).tools}
        assert {"execute_code", "think", "noisy"} <= tools.keys()
        assert "python" in tools["execute_code"].inputSchema["properties"]["language"]["enum"]

        code = "import time\nfor i in range(3): print(i, flush=True); time.sleep(0.3)"
        for _ in range(5):  # a server that had to pause may have found all of it at once
            told.clear()
            result = await session.call_tool("execute_code", {"code": code}, progress_callback=progress)
            assert not result.isError
            assert result.structuredContent["output"] == "0\n1\n2\n"
            assert json.loads(result.content[0].text) == result.structuredContent
            assert "".join(message or "" for _, message in told) == "0\n1\n2\n"
            assert [seconds for seconds, _ in told] == sorted({seconds for seconds, _ in told}), "progress grows"
            if len(told) > 1:
                break
        assert len(told) > 1, "it came in pieces"
        assert logged == [], "nobody asked for a log"

        await session.set_logging_level("info")
        await session.call_tool("execute_code", {"code": "import sys; print('to', file=sys.stderr)"})
        assert {params.logger for params in logged} == {"execute_code.stderr"}
        assert "".join(params.data for params in logged) == "to\n"

        failing = await session.call_tool("execute_code", {"code": "raise SystemExit(3)"})
        assert not failing.isError, "a program that fails is a result"
        assert failing.structuredContent["exit_code"] == 3
        for name, arguments, words in (
            ("execute_code", {"code": "1", "language": "cobol"}, "language"),
            ("execute_code", {}, "code"),
            ("no_such_tool", {}, "there is no tool 'no_such_tool'"),
            ("noisy", {"fail": True}, "it broke"),
        ):
            wrong = await session.call_tool(name, arguments)
            assert wrong.isError
            assert words in wrong.content[0].text
        noisy = await session.call_tool("noisy", {})
        assert noisy.content[0].text == "quiet", "what is printed does not get in between"


@pytest.mark.parametrize("connect", ["http"], indirect=True)
async def test_twenty_calls_at_once(connect):
    async with connect() as session:
        calls = [session.call_tool("execute_code", {"code": f"print({number})"}) for number in range(20)]
        results = await asyncio.gather(*calls)
    assert [result.structuredContent["output"] for result in results] == [f"{number}\n" for number in range(20)]


async def test_a_call_that_is_cancelled_ends_its_program(connect):
    began = asyncio.Event()

    async def progress(_seconds, _total, _message):
        began.set()

    async with connect() as session:
        call = asyncio.create_task(
            session.call_tool(
                "execute_code",
                {"code": "import time\nprint(1, flush=True)\ntime.sleep(25)"},
                progress_callback=progress,
            )
        )
        await asyncio.wait_for(began.wait(), 60)
        # The SDK's client numbers its requests: the one under way is the last.
        params = types.CancelledNotificationParams(requestId=session._request_id - 1, reason="enough")
        await session.send_notification(types.ClientNotification(types.CancelledNotification(params=params)))
        with pytest.raises(McpError, match="cancelled"):
            await asyncio.wait_for(call, 24)
        again = await session.call_tool("execute_code", {"code": "print(2)"})
        assert again.structuredContent["output"] == "2\n"


@pytest.mark.slow
async def test_a_client_that_only_listens_does_not_keep_the_server_from_ending(environ):
    server = Server(environ, "--token", "--grace", "50")
    async with over_http(server) as streams, ClientSession(*streams) as session:
        await session.initialize()
        await session.call_tool("think", {"thought": "listening"})
        started = time.monotonic()
        await asyncio.to_thread(server.stop)
        assert time.monotonic() - started < 40


def initialize(**headers) -> dict:
    accepted = {"Accept": "application/json, text/event-stream", **headers}
    body = {
        "jsonrpc": "2.0", "id": 1, "method": "initialize",
        "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}},
    }  # fmt: skip
    return {"headers": accepted, "json": body, "timeout": 30}


def test_http_is_for_those_who_show_the_token_and_for_no_web_page(server):
    bearer = {"Authorization": f"Bearer {server.token}"}
    ours = server.url.rpartition("/")[0]
    for headers, status in (
        ({}, 401),
        ({"Authorization": "Bearer wrong"}, 401),
        (bearer, 200),
        ({**bearer, "Origin": ours}, 200),
        ({**bearer, "Origin": "https://evil.example"}, 403),
        ({**bearer, "Host": "rebound.example"}, 421),
    ):
        assert httpx.post(server.url, **initialize(**headers), trust_env=False).status_code == status, headers
    assert httpx.get(f"{ours}/healthz", trust_env=False).text == "ok"
    assert httpx.get(f"{ours}/", headers=bearer, trust_env=False).status_code == 404


async def test_clients_that_leave_and_the_end_are_no_errors_in_the_log(environ):
    server = Server(environ, "--token")
    try:
        for is_last in (False, True):
            async with over_http(server) as (reading, writing), ClientSession(reading, writing) as session:
                await session.initialize()
                await asyncio.sleep(0.2)  # until the client listens
                if is_last:
                    server.process.terminate()
                    assert await asyncio.to_thread(server.process.wait, 30) == 143
        assert server.process.stderr.read() == ""
    finally:
        server.stop()


async def test_a_client_that_comes_to_listen_as_the_server_ends_does_not_keep_it():
    door, ready = open_door("127.0.0.1", 0), asyncio.Event()
    entry = Entry(door=door, token=None, hosts=())
    serving = asyncio.create_task(
        serve_http(make_server([]), entry, limits=RequestLimits(), grace=60, opened=ready.set)
    )
    await ready.wait()
    async with httpx.AsyncClient(trust_env=False) as client:
        session = (await client.post(f"{door.url}mcp", **initialize())).headers["mcp-session-id"]
    reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
    await reader.readuntil(b"ok\r\n0\r\n\r\n")  # the connection was taken: nobody closes it before the request is there
    accepted = f"Accept: text/event-stream\r\nMcp-Session-Id: {session}"
    writer.write(f"GET /mcp HTTP/1.1\r\nHost: localhost\r\n{accepted}\r\n\r\n".encode())
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(serving, 30)  # and not after the time of grace
    writer.close()


def speak(environ, *messages, wait=120):
    """What the server says on stdout to these messages, and how it ends when its stdin does."""
    text = "".join(f"{message if isinstance(message, str) else json.dumps(message)}\n" for message in messages)
    return subprocess.run(
        [XAGENT, "mcp", *OPTIONS], input=text, env=environ, capture_output=True, text=True, timeout=wait, check=False
    )


def test_stdout_is_the_protocols_alone_and_a_line_that_is_none_ends_nothing(environ):
    ended = speak(environ, "this is no message", initialize()["json"])
    assert ended.returncode == 0, ended.stderr
    answers = [json.loads(line) for line in ended.stdout.splitlines()]
    assert all(answer["jsonrpc"] == "2.0" for answer in answers)
    assert [answer["result"]["serverInfo"]["name"] for answer in answers if "result" in answer] == ["xagent"]
    assert "serving" in ended.stderr


def test_a_signal_ends_it_while_it_waits_for_a_line(environ):
    process = subprocess.Popen(
        [XAGENT, "mcp", *OPTIONS], env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    with process:
        assert b"serving" in process.stderr.readline()
        process.terminate()
        assert process.wait(60) == 143
        assert process.stdout.read() == b""


def test_files_of_a_result_become_images_and_resources():
    files = [
        {"path": "plot.png", "content": "-_8="},
        {"path": "out/data.bin", "content": "AAE="},
        {"path": "broken", "content": "é"},
        "no file",
    ]
    result = result_of(ToolMessage("text", tool_call_id="1", artifact={"files": files}))
    text, image, resource = result.content
    assert (text.text, result.structuredContent, result.isError) == ("text", None, False)
    assert (image.data, image.mimeType) == ("+/8=", "image/png")
    assert (str(resource.resource.uri), resource.resource.blob) == ("sandbox://workspace/out/data.bin", "AAE=")
    blocks = [
        {"type": "text", "text": "a"},
        {"type": "image", "base64": "AA==", "mime_type": "image/gif"},
        "b",
        {"x": 1},
    ]
    kinds = [block.type for block in result_of(ToolMessage(blocks, tool_call_id="1", status="error")).content]
    assert kinds == ["text", "image", "text", "text"]
