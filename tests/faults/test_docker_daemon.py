"""What a Docker daemon can do to its sandboxes: die, stop, lose its socket, run out of disk. It is one of our own."""

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

import docker
import pytest
from xagent_docker.backend import DockerBackend

from xagent_core import (
    BackendError,
    BackendUnavailableError,
    Engine,
    ExecutionRequest,
    PolicyNotSupportedError,
    PoolConfig,
    SandboxLostError,
    SandboxStartError,
)
from xagent_core.types import NetworkPolicy

pytestmark = [
    pytest.mark.engine("docker"),
    pytest.mark.slow,
    pytest.mark.xdist_group("docker daemon"),
    pytest.mark.skipif(os.geteuid() != 0 or shutil.which("dockerd") is None, reason="needs root and dockerd"),
]

IMAGE = "xagent-runtime-bash:latest"
STORAGE = "size=256m"


class ThrowAwayDaemon:
    """A Docker daemon beside the machine's, with no network, and a small disk that is in memory."""

    def __init__(self, folder: Path) -> None:
        self.socket = folder / "s"
        self.storage = folder / "data"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.storage.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", STORAGE, "tmpfs", self.storage], check=True)

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    def start(self) -> None:
        names = ("data-root", "exec-root", "pidfile", "host", "containerd-namespace", "containerd-plugins-namespace")
        values = (self.storage, self._folder / "exec", self._folder / "pid", self.url, "xt", "xtp")
        options = [f"--{name}={value}" for name, value in zip(names, values, strict=True)]
        # Where process 1 does not reap, the containerd of a killed daemon stays as a zombie, and passes for alive.
        (self._folder / "exec/containerd/containerd.pid").unlink(missing_ok=True)
        with (self._folder / "log").open("ab") as log:
            # In a network namespace of its own: --bridge=none removes docker0, which another daemon may need.
            command = ["unshare", "--net", "dockerd", *options, "--bridge=none", "--iptables=false"]
            command.append(f"--add-runtime=another={shutil.which('runc')}")
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        for _ in range(300):
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as sock:
                sock.connect(str(self.socket))
                return
            time.sleep(0.1)
        pytest.fail((self._folder / "log").read_text())

    def end(self, how: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(how)
        self._process.wait()

    def remove(self) -> None:
        self.end(signal.SIGTERM)
        # One that was killed has left the mount of its data folder on itself.
        mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
        for path in [path for path in reversed(mounts) if path.startswith(f"{self._folder}/")]:
            subprocess.run(["umount", path], check=True)


@pytest.fixture(scope="module")
def daemon():
    folder = Path(tempfile.mkdtemp(prefix="xagent-"))  # the path of a socket must be short
    daemon = ThrowAwayDaemon(folder)
    try:
        daemon.start()
        with (
            contextlib.closing(docker.from_env()) as machines,
            contextlib.closing(docker.DockerClient(daemon.url)) as own,
        ):
            own.api.load_image(b"".join(machines.api.get_image(IMAGE)))
        yield daemon
    finally:
        daemon.remove()
        shutil.rmtree(folder)


@pytest.fixture
async def engine(daemon):
    async with Engine(DockerBackend(base_url=daemon.url, pull=False), pool=PoolConfig(ready=0)) as engine:
        yield engine


async def start(engine):
    return await engine.backend.start(engine.plan(ExecutionRequest(code="", language="bash")).spec)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
async def test_a_daemon_that_goes_and_comes_back(daemon, engine, how):
    ready = await start(engine)
    running = asyncio.ensure_future(engine.execute("echo begun; sleep 60", language="bash", timeout=90))
    await asyncio.sleep(2)

    await asyncio.to_thread(daemon.end, how)
    try:
        with pytest.raises(SandboxLostError) as caught:
            await running
        assert caught.value.code_ran == "maybe"
        await asyncio.sleep(0.5)  # Each connection hears of it by itself.
        with pytest.raises(SandboxLostError) as caught:
            await ready.send(b"echo\n")
        assert caught.value.code_ran == "no"
        with pytest.raises(BackendUnavailableError, match=r"no Docker daemon (listens|runs)"):
            await start(engine)
        assert not (await engine.backend.probe()).available
    finally:
        await asyncio.to_thread(daemon.start)

    assert (await engine.execute("echo back", language="bash")).output == "back\n"


async def test_a_socket_that_is_gone(daemon, engine):
    running = asyncio.ensure_future(engine.execute("sleep 1; echo done", language="bash"))
    await asyncio.sleep(0.7)
    elsewhere = daemon.socket.rename(daemon.socket.with_name("elsewhere"))
    try:
        # What was connected before goes on.
        assert (await running).output == "done\n"
        with pytest.raises(BackendUnavailableError, match="there is no socket"):
            await engine.execute("echo", language="bash")
    finally:
        elsewhere.rename(daemon.socket)
    assert (await engine.execute("echo back", language="bash")).output == "back\n"


async def test_a_full_disk(daemon, engine):
    running = asyncio.ensure_future(engine.execute("sleep 2; echo done | tee out", language="bash", collect=["out"]))
    await asyncio.sleep(0.7)
    filler = daemon.storage / "filler"
    try:
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        with pytest.raises(SandboxStartError, match="no space left on device") as caught:
            await engine.execute("echo", language="bash")
        assert "docker system df" in caught.value.fix
        # What runs has its scratch space in memory, and so does its result come.
        result = await running
        assert (result.output, [file.content for file in result.files]) == ("done\n", [b"done\n"])
    finally:
        filler.unlink()
    assert (await engine.execute("echo back", language="bash")).output == "back\n"


async def test_a_daemon_without_a_network_offers_none(engine):
    with pytest.raises(PolicyNotSupportedError, match="internet"):
        await engine.execute("echo", language="bash", network=NetworkPolicy.INTERNET)


async def test_a_daemon_that_stands_still(daemon, engine):
    """Nothing is known of what it was asked: it has its time, and no more, and the caller is told."""
    assert (await engine.execute("echo first", language="bash")).output == "first\n"
    os.kill(int((daemon.socket.with_name("pid")).read_text()), signal.SIGSTOP)
    try:
        call = asyncio.ensure_future(engine.execute("echo", language="bash"))
        await asyncio.sleep(1)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(call, 15)
        assert not (await engine.backend.probe()).available
    finally:
        os.kill(int((daemon.socket.with_name("pid")).read_text()), signal.SIGCONT)
    with contextlib.suppress(BackendError):
        await engine.backend.reap()
    assert (await engine.execute("echo back", language="bash")).output == "back\n"


async def test_the_runtime_that_is_asked_for_runs_it(daemon):
    """The same runc under another name: what matters is that the daemon is told, as it would be of gVisor or Kata."""
    backend = DockerBackend(base_url=daemon.url, pull=False, runtime="another")
    async with Engine(backend, pool=PoolConfig(ready=0)) as engine:
        sandbox = await start(engine)
        try:
            with contextlib.closing(docker.DockerClient(daemon.url)) as client:
                assert client.api.inspect_container(sandbox.id)["HostConfig"]["Runtime"] == "another"
        finally:
            await sandbox.kill()
        assert (await engine.execute("echo ran", language="bash")).output == "ran\n"
