"""Who may call the server, what it takes, what it says of itself, and how it ends."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from pathlib import Path

import httpx
import pytest
from xagent_server_langserve.app import make_asgi_app
from xagent_server_langserve.engines import Engines

from xagent_core import PoolConfig, Probe, Settings
from xagent_core.engine import Engine
from xagent_core.http.limits import RequestLimits
from xagent_core.plugins import Plugins
from xagent_core.testing.fakes import FakeBackend

pytestmark = [pytest.mark.engine("bubblewrap"), pytest.mark.xdist_group("serve")]

RUN = {"input": {"code": "print(1)"}}


@pytest.fixture(scope="module")
def locked(start):
    """A server that other machines can call, with small limits."""
    limits = ("--max-body", "100k", "--rate", "300", "--max-requests", "1", "--request-timeout", "20")
    return start("--backend", "bubblewrap", "--host", "0.0.0.0", *limits)


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


def test_off_loopback_a_token_is_made_and_printed_once(locked):
    assert "other machines can call, too: it listens on 0.0.0.0\n" in locked.log
    assert locked.log.count(locked.token) == 2, "once by itself, and once in the address that logs in"
    with locked.client() as client:
        for path in ("/", "/tools/execute_code/input_schema", "/metrics", "/openapi.json", "/api/info", "/nowhere"):
            assert client.get(path).status_code == 401, path
        assert client.post("/tools/execute_code/invoke", json=RUN, headers=bearer("x" * 43)).status_code == 401
        answer = client.post("/tools/execute_code/invoke", json=RUN, headers=bearer(locked.token))
        assert answer.json()["output"]["output"] == "1\n"
        for path in ("/healthz", "/readyz", "/login"):
            assert client.get(path).status_code == 200, path


def test_a_browser_logs_in_for_a_cookie_that_is_not_the_token(locked):
    with locked.client() as client:
        assert client.get("/", headers={"Accept": "text/html"}).headers["location"] == "/login"
        assert client.post("/login", json={"token": "wrong" * 5}).status_code == 401
        assert client.get("/").status_code == 401
        logged = client.post("/login", json={"token": locked.token})
        cookie = logged.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "samesite=strict" in cookie.lower()
        assert locked.token not in cookie
        assert client.get("/").status_code == 200
        elsewhere = {"Origin": "http://localhost:1234"}
        assert client.post("/api/run", json={"code": "1"}, headers=elsewhere).status_code == 403
        client.post("/logout")
        assert client.get("/").status_code == 401
    name, _, value = cookie.partition(";")[0].partition("=")
    expires, _, signature = value.partition(".")
    for forged in (f"{int(expires) + 1}.{signature}", f"{expires}.", f"{expires}.{'0' * 64}", "1.x", "é.é"):
        with locked.client() as client:
            header = f"{name}={forged}".encode()
            assert client.get("/", headers={b"Cookie": header}).status_code == 401, forged


def test_the_limits_of_requests(locked):
    headers = bearer(locked.token)
    with locked.client(headers=headers) as client:
        assert client.post("/tools/execute_code/invoke", content=b"x" * 110_000).status_code == 413
        slow = {"code": "import time; print(1, flush=True); time.sleep(15)"}
        with client.stream("POST", "/api/run", json=slow) as answer:
            lines = answer.iter_lines()  # which closes the answer when nobody has it any more
            assert '"stdout"' in next(lines), "it runs"
            busy = client.post("/tools/execute_code/invoke", json=RUN)
            assert (busy.status_code, busy.headers.get("retry-after")) == (503, "1"), busy.text
            assert client.get("/readyz").status_code == 200
        assert any(client.get("/nowhere").status_code == 429 for _ in range(300))
        assert client.get("/healthz").status_code == 200


@pytest.mark.parametrize("path", ["/", "/login", "/static/page.js", "/healthz", "/readyz", "/metrics"])
def test_head_answers_as_get_does_without_the_body(client, path):
    asked = client.head(path)
    assert (asked.status_code, asked.content) == (200, b"")
    assert asked.headers.keys() == client.get(path).headers.keys()


def test_metrics_tell_of_every_request(client):
    client.get("/healthz")
    client.get("/no/such/page")
    text = client.get("/metrics").text
    assert 'xagent_http_requests_total{method="GET",route="/healthz",status="200"}' in text
    assert 'route="none",status="404"' in text
    assert "no/such" not in text
    assert "python_info" in text, "what others have registered is there too"


def test_a_token_that_is_given_is_never_printed(start):
    token = "given-by-the-operator"
    served = start("--backend", "bubblewrap", XAGENT_TOKEN=token)
    with served.client() as client:
        assert client.get("/api/info").status_code == 401
        assert client.get("/api/info", headers=bearer(token)).status_code == 200
        assert client.get("/api/info", headers={"Host": "rebound.example", **bearer(token)}).status_code == 421
    served.stop()
    assert token not in served.log


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
def test_without_a_token_other_users_are_refused(server):
    code = f"import urllib.request as r; print(r.urlopen('{server.url}/api/info').status)"
    for user, word in ((0, "200"), (65534, "403")):
        asked = subprocess.run(["/usr/bin/python3", "-c", code], user=user, capture_output=True, text=True, check=False)
        assert word in asked.stdout + asked.stderr


def children(pid: int) -> list[str]:
    found: list[str] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # a thread that has ended meanwhile
            found += (task / "children").read_text().split()
    return found


def test_the_end_is_in_order(start):
    served = start("--backend", "bubblewrap", "--grace", "1")
    body = {"input": {"code": "import time; time.sleep(25)"}}
    ended: list[str] = []

    def wait():
        try:
            ended.append(str(httpx.post(f"{served.url}/tools/execute_code/invoke", json=body, timeout=60).status_code))
        except httpx.HTTPError as error:
            ended.append(type(error).__name__)

    caller = threading.Thread(target=wait)
    caller.start()
    served.wait_until(served.running, "the request does not come")
    served.wait_until(lambda: children(served.process.pid), "there is no sandbox")
    left = children(served.process.pid)
    assert served.stop() == 128 + signal.SIGTERM
    caller.join()
    assert ended == ["503"]
    assert not [pid for pid in left if Path("/proc", pid).exists()]
    assert "Traceback" not in served.log


def test_a_workspace_that_is_missing_is_made(start, tmp_path):
    served = start("--backend", "bubblewrap", "--workspace", str(tmp_path / "new"))
    assert served.url
    assert (tmp_path / "new").is_dir()


def test_what_cannot_be_served_is_said_before(server, start, tmp_path):
    taken = start("--port", server.url.rpartition(":")[2])
    assert taken.process.wait(30) == 125
    assert "cannot be listened on" in taken.log
    assert "Choose another --port." in taken.log
    elsewhere = start("--host", "203.0.113.1")  # RFC 5737: nobody's
    assert elsewhere.process.wait(30) == 125
    assert "Choose an address of this machine as --host." in elsewhere.log
    short = start("--token-file", str(tmp_path / "missing"))
    assert short.process.wait(30) == 125
    assert "the token cannot be read" in short.log


class Fading(FakeBackend):
    """Answers once."""

    asked = 0

    async def probe(self):
        self.asked += 1
        return Probe(available=self.asked > 99, detail="the daemon has gone", fix="Start it.")


async def test_a_server_whose_backend_has_gone_is_not_ready():
    engines = Engines(None, settings=Settings(), plugins=Plugins())
    engines.first = Engine(Fading(), settings=Settings(), plugins=Plugins(), pool=PoolConfig(ready=0))
    async with engines:
        app = make_asgi_app(engines, [], token=None, limits=RequestLimits(), port=1)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
            ready = await client.get("/readyz")
            assert (ready.status_code, ready.json()) == (503, {"status": "unavailable"})
            assert (await client.get("/healthz")).status_code == 200
            assert (await client.get("/api/info")).status_code == 403
        assert await engines.trouble() == "fake: the daemon has gone. Start it."
