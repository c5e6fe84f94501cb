"""What a Podman service can do to its sandboxes: die, stop, lose its socket, run out of disk. It is one of our own."""

import asyncio
import contextlib
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

from xagent_core import (
    BackendError,
    BackendUnavailableError,
    Engine,
    ExecutionRequest,
    PoolConfig,
    SandboxLostError,
)

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
def podman():
    folder = Path(tempfile.mkdtemp(prefix="xagent-"))  # the path of a socket must be short
    try:
        podman = OwnPodman(folder)
        podman.start()
        yield podman
        podman.remove()
    finally:
        shutil.rmtree(folder)


@pytest.fixture
async def engine(podman):
    async with Engine(PodmanBackend(base_url=podman.url, pull=False), pool=PoolConfig(ready=0)) as engine:
        yield engine


async def start(engine):
    return await engine.backend.start(engine.plan(ExecutionRequest(code="", language="bash")).spec)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
async def test_a_service_that_goes_and_comes_back(podman, engine, how):
    ready = await start(engine)
    running = asyncio.ensure_future(engine.execute("echo begun; sleep 60", language="bash", timeout=90))
    await asyncio.sleep(2)

    await asyncio.to_thread(podman.end, how)
    try:
        with pytest.raises(SandboxLostError) as caught:
            await running
        assert caught.value.code_ran == "maybe"
        await asyncio.sleep(0.5)  # Each connection hears of it by itself.
        with pytest.raises(SandboxLostError) as caught:
            await ready.send(b"echo\n")
        assert caught.value.code_ran == "no"
        with pytest.raises(BackendUnavailableError, match=r"no Podman service (listens|runs)"):
            await start(engine)
        assert not (await engine.backend.probe()).available
    finally:
        await asyncio.to_thread(podman.start)

    assert (await engine.execute("echo back", language="bash")).output == "back\n"
    # What runs inside has noticed, although its service was not there to tell it.
    for _ in range(100):
        if not podman.containers():
            break
        await asyncio.sleep(0.1)
    assert not podman.containers()


async def test_a_socket_that_is_gone(podman, engine):
    running = asyncio.ensure_future(engine.execute("sleep 2; echo done", language="bash"))
    await asyncio.sleep(1.5)
    elsewhere = podman.socket.rename(podman.socket.with_name("elsewhere"))
    try:
        with pytest.raises(BackendUnavailableError, match="there is no socket"):
            await engine.execute("echo", language="bash")
        # What was connected before goes on.
        assert (await running).output == "done\n"
    finally:
        elsewhere.rename(podman.socket)
    assert (await engine.execute("echo back", language="bash")).output == "back\n"


async def test_a_full_disk(podman, engine):
    running = asyncio.ensure_future(engine.execute("sleep 3; echo done | tee out", language="bash", collect=["out"]))
    await asyncio.sleep(1.5)
    filler = podman.storage / "filler"
    try:
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        with pytest.raises(BackendError, match="no space left on device") as caught:
            await engine.execute("echo", language="bash")
        assert "podman system df" in caught.value.fix
        # What runs has its scratch space in memory, and so does its result come.
        result = await running
        assert (result.output, [file.content for file in result.files]) == ("done\n", [b"done\n"])
    finally:
        filler.unlink()
    assert (await engine.execute("echo back", language="bash")).output == "back\n"


async def test_a_service_that_stands_still(podman, engine):
    """Nothing is known of what it was asked: it has its time, and no more, and the caller is told."""
    assert (await engine.execute("echo first", language="bash")).output == "first\n"
    podman.tell(signal.SIGSTOP)
    try:
        call = asyncio.ensure_future(engine.execute("echo", language="bash"))
        await asyncio.sleep(1)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(call, 15)
        assert not (await engine.backend.probe()).available
    finally:
        podman.tell(signal.SIGCONT)
    with contextlib.suppress(BackendError):
        await engine.backend.reap()
    assert (await engine.execute("echo back", language="bash")).output == "back\n"
