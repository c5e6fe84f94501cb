"""What the tests of the Podman backend share: services of their own beside the machine's, and an engine on it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from xagent_podman.backend import PodmanBackend

from xagent_core import Engine, PoolConfig


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder whose path is short enough for sockets, and open to everyone."""
    path = Path(tempfile.mkdtemp(prefix="xagent-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


def listens(url: str) -> bool:
    """Whether a service can be asked; its socket is there before that."""
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(url.removeprefix("unix://")) == 0


class OwnService:
    """A service over the same containers and images as the machine's."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = ["podman", "system", "service", "--time=0", self.url]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while not listens(self.url):
            assert self._process.poll() is None
            time.sleep(0.02)

    def kill(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            Path(self.url.removeprefix("unix://")).unlink(missing_ok=True)


@pytest.fixture
def make_engine() -> Callable[..., Engine]:
    """An engine on a backend of one's own, with the languages that are installed."""

    def make(**options: object) -> Engine:
        backend = PodmanBackend.from_options({"pull": False, **options})
        return Engine(backend=backend, pool=PoolConfig(ready=0))

    return make


@pytest.fixture
async def engine(make_engine: Callable[..., Engine]) -> AsyncIterator[Engine]:
    async with make_engine() as engine:
        yield engine


@pytest.fixture
def podman() -> Callable[..., str]:
    """The command `podman`; it says what it printed."""

    def run(*arguments: str, stdin: bytes = b"") -> str:
        done = subprocess.run(["podman", *arguments], input=stdin, capture_output=True, check=True)
        return done.stdout.decode()

    return run


@contextlib.contextmanager
def ordinary_user() -> Iterator[None]:
    """Root may use every socket; somebody else may not."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
