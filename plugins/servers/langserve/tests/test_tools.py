"""Tools over HTTP, by plain requests and by LangServe's own client, whoever wrote them."""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest
from langserve import RemoteRunnable

pytestmark = [pytest.mark.engine("bubblewrap"), pytest.mark.xdist_group("serve")]


def call(client, tool, **arguments):
    return client.post(f"/tools/{tool}/invoke", json={"input": arguments})


def events(response):
    """The events of a stream, as name and data."""
    found = []
    for block in response.text.replace("\r\n", "\n").split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line and not line.startswith(":"))
        if fields:
            found.append((fields.get("event"), json.loads(fields["data"]) if "data" in fields else None))
    return found


def test_a_tool_is_invoked(client):
    answer = call(client, "execute_code", code="print(6 * 7)")
    assert answer.status_code == 200
    assert answer.json()["output"]["output"] == "42\n"


def test_a_tool_of_another_author_is_served_alike(client):
    assert call(client, "shout", text="hello").json()["output"] == "HELLO"


def test_a_batch(client):
    inputs = [{"code": f"print({number})"} for number in range(3)]
    answer = client.post("/tools/execute_code/batch", json={"inputs": inputs})
    assert [output["output"] for output in answer.json()["output"]] == ["0\n", "1\n", "2\n"]


def test_a_batch_that_is_too_long(client):
    answer = client.post("/tools/shout/batch", json={"inputs": [{"text": "a"}] * 101})
    assert (answer.status_code, answer.json()["detail"]) == (
        413,
        "a batch has at most 100 inputs, and this one has 101",
    )


def test_a_stream(client):
    found = events(client.post("/tools/execute_code/stream", json={"input": {"code": "print(1)"}}))
    assert [name for name, _ in found] == ["metadata", "data", "end"]
    assert found[1][1]["output"] == "1\n"


def test_output_comes_as_events_while_the_program_runs(client):
    body = {"input": {"code": "print(1)", "language": "python"}}
    found = events(client.post("/tools/execute_code/stream_events", json=body))
    custom = [data["data"] for _, data in found if data and data["event"] == "on_custom_event"]
    assert "".join(event["data"] for event in custom if event["stream"] == "stdout") == "1\n"


def test_the_schemas_say_what_is_installed(client):
    schema = client.get("/tools/execute_code/input_schema").json()
    assert "python" in schema["properties"]["language"]["enum"]
    assert client.get("/tools/execute_code/output_schema").status_code == 200
    assert client.get("/tools/execute_code/config_schema").status_code == 200
    assert "/tools/shout/invoke" in client.get("/openapi.json").json()["paths"]


def test_the_playground_is_a_page_of_its_own_policy(client):
    page = client.get("/tools/shout/playground/")
    assert page.headers["content-type"].startswith("text/html")
    assert "script-src 'self' 'unsafe-inline'" in page.headers["content-security-policy"]
    assert client.get("/tools/shout/playground/%2e%2e/%2e%2e/server.py").status_code == 404


def test_arguments_that_are_wrong(client):
    answer = call(client, "execute_code", code="print(1)", language="cobol")
    assert answer.status_code == 422
    assert "python" in answer.json()["detail"][0]["msg"]
    assert client.post("/tools/execute_code/invoke", content=b"{").status_code == 422


def test_an_error_of_a_tool_is_told_and_a_bug_is_not(client, server):
    refused = call(client, "refuse", secret="none")
    assert (refused.status_code, refused.json()["error"]["cause"]) == (422, "It never works.")
    bug = call(client, "refuse", secret="bug-and-secret")
    assert bug.status_code == 500
    assert "bug-and-secret" not in bug.text
    server.wait_until(lambda: "builtins.RuntimeError\n" in server.log, "the log says nothing")
    assert "in refuse\n" in server.log, "it says where"
    assert "bug-and-secret" not in server.log, "what an error says may be a caller's"


def test_a_program_that_fails_is_a_result(client):
    output = call(client, "execute_code", code="raise SystemExit(3)").json()["output"]
    assert (output["status"], output["exit_code"]) == ("error", 3)


def test_langserves_client(server):
    remote = RemoteRunnable(f"{server.url}/tools/execute_code/")
    assert remote.invoke({"code": "print('sync')"})["output"] == "sync\n"
    assert [r["output"] for r in remote.batch([{"code": "print(1)"}, {"code": "print(2)"}])] == ["1\n", "2\n"]
    assert [chunk["output"] for chunk in remote.stream({"code": "print(3)"})] == ["3\n"]
    with pytest.raises(httpx.HTTPStatusError, match="422"):
        remote.invoke({"language": "python"})


async def test_langserves_client_in_an_event_loop_twenty_at_once(server):
    remote = RemoteRunnable(f"{server.url}/tools/execute_code/")
    results = await asyncio.gather(*(remote.ainvoke({"code": f"print({number})"}) for number in range(20)))
    assert [result["output"] for result in results] == [f"{number}\n" for number in range(20)]


@pytest.mark.parametrize("path", ["invoke", "stream"])
def test_a_caller_who_leaves_ends_the_program(server, path):
    body = {"input": {"code": "import time; time.sleep(25)"}}
    with server.client() as leaving, pytest.raises(httpx.ReadTimeout):
        leaving.post(f"/tools/execute_code/{path}", json=body, timeout=0.7)
    server.wait_until(lambda: not server.running(), "the request goes on")
