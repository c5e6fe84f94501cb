"""Runs `xagent serve` as its users do: a process of its own, on a real backend, with another author's tools."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sysconfig
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

THIRD_PARTY = '''
from xagent_core import ToolRegistration, hookimpl


@hookimpl
def xagent_register_tools():
    return [
        ToolRegistration(name="shout", summary="Shouts", factory=_shout),
        ToolRegistration(name="refuse", summary="Never works", factory=_refuse),
    ]


def _shout(context):
    from langchain_core.tools import tool

    @tool
    def shout(text: str) -> str:
        """Shouts."""
        return text.upper()

    return shout


def _refuse(context):
    from langchain_core.tools import ToolException, tool

    @tool
    def refuse(secret: str) -> str:
        """Never works."""
        if secret.startswith("bug"):
            raise RuntimeError(secret)
        raise ToolException("It never works.")

    return refuse
'''


@dataclass
class Served:
    """A server that runs."""

    process: subprocess.Popen[str]
    printed: list[str] = field(default_factory=list)
    reader: threading.Thread | None = None

    @property
    def log(self) -> str:
        return "".join(self.printed)

    @property
    def url(self) -> str:
        return re.search(r"(https?://\S+?)/ with", self.log)[1]

    @property
    def token(self) -> str:
        return re.search(r"shown only now: (\S+)", self.log)[1]

    def client(self, **options) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=60, trust_env=False, **options)

    def running(self) -> float:
        """Requests that are being answered, without the one that asks."""
        with self.client() as client:
            text = client.get("/metrics").text
        return float(re.search(r"^xagent_http_requests_running (\S+)$", text, re.MULTILINE)[1]) - 1

    def wait_until(self, condition: Callable[[], object], what: str) -> None:
        deadline = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < deadline, what
            time.sleep(0.05)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Ends it, and waits until the whole log is read."""
        self.process.send_signal(number)
        self.reader.join(60)
        return self.process.wait(60)


@pytest.fixture(scope="session")
def third_party(tmp_path_factory) -> Path:
    """A folder that holds an installed plugin."""
    folder = tmp_path_factory.mktemp("third-party")
    (folder / "their_tools.py").write_text(THIRD_PARTY)
    info = folder / "their_tools-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-tools\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[xagent]\ntheirs = their_tools\n")
    return folder


@pytest.fixture(scope="session")
def start(third_party) -> Iterator[Callable[..., Served]]:
    """Starts servers, and ends those that still run."""
    started: list[Served] = []

    def begin(*options: str, **environ: str) -> Served:
        command = [Path(sysconfig.get_path("scripts"), "xagent"), "serve", "--port", "0", *options]
        paths = [str(third_party), os.environ.get("PYTHONPATH", "")]
        # What a dependency deprecates, it must not be asked for.
        own = {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "PYTHONWARNINGS": "error"}
        process = subprocess.Popen(
            command, env=os.environ | own | environ, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        served = Served(process)
        started.append(served)
        for line in process.stderr:
            served.printed.append(line)
            if "callers" in line or "log in" in line:
                break
        served.reader = threading.Thread(target=lambda: served.printed.extend(process.stderr), daemon=True)
        served.reader.start()
        return served

    yield begin
    for served in started:
        if served.process.poll() is None:
            served.stop()
        served.process.wait(30)
        served.process.stderr.close()


@pytest.fixture(scope="session")
def server(start) -> Served:
    """A server on loopback, without a token."""
    return start("--backend", "bubblewrap")


@pytest.fixture
def client(server) -> Iterator[httpx.Client]:
    with server.client() as client:
        yield client
