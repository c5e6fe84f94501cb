"""What a Podman service can do to its sandboxes. It is one of our own."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
from xagent_podman.backend import PodmanBackend

from tests.faults.engine_service import ServiceFaults
from xagent_core import BackendError, Engine, PoolConfig

pytestmark = [
    pytest.mark.engine("podman"),
    pytest.mark.slow,
    pytest.mark.xdist_group("podman service"),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root, for a storage of its own"),
]

STORAGE = "/var/lib/containers/storage"
# What Podman keeps is all in memory, and seen by nobody else: its locks, its state, and a small disk.
HOLD = f"""
for folder in /dev/shm /run/libpod /run/containers {STORAGE}; do
  mkdir -p $folder && mount -t tmpfs -o size=256m tmpfs $folder
done
podman load -q
exec sleep infinity
"""


class OwnPodman:
    """A Podman whose containers and images are not the machine's."""

    def __init__(self, folder: Path) -> None:
        self.socket = folder / "s"
        image = folder / "image"
        subprocess.run(["podman", "save", "-q", "-o", image, "xagent-runtime-bash"], check=True)
        with image.open("rb") as stdin, (folder / "log").open("wb") as log:
            command = ["unshare", "--mount", "sh", "-ec", HOLD]
            self._world = subprocess.Popen(command, stdin=stdin, stdout=log, stderr=log)
        while Path(f"/proc/{self._world.pid}/comm").read_text() != "sleep\n":
            assert self._world.poll() is None, (folder / "log").read_text()
            time.sleep(0.1)
        self.storage = Path(f"/proc/{self._world.pid}/root{STORAGE}")
        self._service: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    def _command(self, *arguments: str) -> list[str]:
        return ["nsenter", f"--target={self._world.pid}", "--mount", "podman", *arguments]

    def containers(self) -> str:
        return subprocess.run(self._command("ps", "--all", "--quiet"), stdout=subprocess.PIPE, check=True).stdout

    def start(self) -> None:
        null = subprocess.DEVNULL
        command = self._command("system", "service", "--time=0", self.url)
        self._service = subprocess.Popen(command, stdout=null, stderr=null)
        with socket.socket(socket.AF_UNIX) as client:
            while client.connect_ex(str(self.socket)) != 0:
                assert self._service.poll() is None
                time.sleep(0.02)

    def tell(self, how: signal.Signals) -> None:
        assert self._service is not None
        self._service.send_signal(how)

    def end(self, how: signal.Signals) -> None:
        self.tell(how)
        self._service.wait()
        self.socket.unlink(missing_ok=True)

    def remove(self) -> None:
        self.end(signal.SIGKILL)
        self._world.kill()
        self._world.wait()


@pytest.fixture(scope="module")
def service():
    folder = Path(tempfile.mkdtemp(prefix="xagent-"))  # the path of a socket must be short
    try:
        podman = OwnPodman(folder)
        podman.start()
        yield podman
        podman.remove()
    finally:
        shutil.rmtree(folder)


@pytest.fixture
async def engine(service):
    async with Engine(PodmanBackend(base_url=service.url, pull=False), pool=PoolConfig(ready=0)) as engine:
        yield engine


class TestPodmanService(ServiceFaults):
    name = "Podman service"
    command = "podman"
    refused = BackendError

    async def nothing_is_left(self, service):
        # What runs inside has noticed, although its service was not there to tell it.
        for _ in range(300):
            if not service.containers():
                break
            await asyncio.sleep(0.1)
        assert not service.containers()
