"""What does not fit a schema is refused as such, and neither the answer nor the log has what the caller sent."""

from __future__ import annotations

import httpx
import pytest

pytestmark = [pytest.mark.engine("bubblewrap"), pytest.mark.xdist_group("serve")]

SECRET = "s3cr3t-of-a-caller"
HALF = r"\ud800"  # of a pair: JSON allows it, UTF-8 does not

CASES = {
    "a batch's input lacks a field": (
        "/tools/http_request/batch",
        f'{{"inputs": [{{"headers": {{"Authorization": "Bearer {SECRET}"}}}}]}}',
        "inputs 0 url",
    ),
    "the last of a batch is wrong": (
        "/tools/execute_code/batch",
        f'{{"inputs": [{{"code": "print(1)"}}, {{"cod": "{SECRET}"}}]}}',
        "inputs 1 code",
    ),
    "a batch of no list": ("/tools/shout/batch", f'{{"inputs": "{SECRET}"}}', "inputs"),
    "half a pair in a program": ("/api/run", f'{{"code": "{SECRET}{HALF}"}}', "body code"),
    "half a pair in a tool's argument": ("/tools/shout/invoke", f'{{"input": {{"text": "{SECRET}{HALF}"}}}}', ""),
    "half a pair in a stream's argument": ("/tools/shout/stream", f'{{"input": {{"text": "{SECRET}{HALF}"}}}}', ""),
    "half a pair in a field's name": ("/api/run", f'{{"code": "", "{HALF}": "{SECRET}"}}', "body"),
    "half a pair in a token": ("/login", f'{{"token": "{SECRET}{HALF}"}}', "body token"),
    "a time without an end": ("/api/run", f'{{"code": "{SECRET}", "timeout": 1e999}}', "body timeout"),
    "a time that is no number": ("/api/run", f'{{"code": "{SECRET}", "timeout": NaN}}', "body timeout"),
    "no object": ("/tools/shout/invoke", "NaN", ""),
    "half a pair in a batch": ("/tools/shout/batch", f'{{"inputs": [{{"text": "{SECRET}{HALF}"}}]}}', ""),
    "no JSON": ("/tools/shout/invoke", f'{{"input": "{SECRET}', ""),
    "no UTF-8": ("/tools/shout/invoke", f'{{"input": "{SECRET}\udcff"}}', ""),
    "too deep": ("/tools/shout/invoke", "[" * 50_000, ""),
    "a number without an end": ("/tools/shout/invoke", '{"input": {"text": ' + "9" * 9000 + "}}", ""),
    "no configuration": ("/tools/shout/invoke", f'{{"input": {{"text": "{SECRET}"}}, "config": null}}', "config"),
}


@pytest.fixture(scope="module")
def strict(start):
    """A server that asks for a token, and whose log has to stay clean."""
    served = start("--backend", "bubblewrap", "--token")
    yield served
    served.stop()
    assert "Traceback" not in served.log
    assert "Exception in ASGI" not in served.log
    assert SECRET not in served.log


def post(served, path: str, body: str) -> httpx.Response:
    headers = {"Content-Type": "application/json"}
    if path != "/login":
        headers["Authorization"] = f"Bearer {served.token}"
    with served.client(headers=headers) as client:
        return client.post(path, content=body.encode("utf-8", "surrogateescape"))


@pytest.mark.parametrize("case", CASES)
def test_what_does_not_fit_is_told_by_its_place(strict, case):
    path, body, place = CASES[case]
    answer = post(strict, path, body)
    assert answer.status_code == 422, answer.text
    for found in answer.json()["detail"]:
        assert found.keys() == {"type", "loc", "msg"}
        assert " ".join(map(str, found["loc"])).startswith(place)
    assert SECRET not in answer.text


def test_a_file_that_is_not_base64(strict):
    for content in ("é", "a"):
        answer = post(strict, "/api/run", f'{{"code": "", "files": [{{"path": "x", "content": "{content}"}}]}}')
        assert answer.status_code == 422
        assert "not base64" in answer.json()["error"]["cause"]
