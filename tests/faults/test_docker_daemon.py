"""What a Docker daemon can do to its sandboxes, and what it is asked for. It is one of our own."""

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

from tests.faults.engine_service import ServiceFaults, start
from xagent_core import Engine, PolicyNotSupportedError, PoolConfig, SandboxStartError
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
        for _ in range(600):
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as sock:
                sock.connect(str(self.socket))
                return
            time.sleep(0.1)
        pytest.fail((self._folder / "log").read_text())

    def tell(self, how: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(how)

    def end(self, how: signal.Signals) -> None:
        self.tell(how)
        self._process.wait()

    def remove(self) -> None:
        self.end(signal.SIGTERM)
        # One that was killed has left the mount of its data folder on itself.
        mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
        for path in [path for path in reversed(mounts) if path.startswith(f"{self._folder}/")]:
            subprocess.run(["umount", path], check=True)


@pytest.fixture(scope="module")
def service():
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
async def engine(service):
    async with Engine(DockerBackend(base_url=service.url, pull=False), pool=PoolConfig(ready=0)) as engine:
        yield engine


class TestDockerDaemon(ServiceFaults):
    name = "Docker daemon"
    command = "docker"
    refused = SandboxStartError


async def test_a_daemon_without_a_network_offers_none(engine):
    with pytest.raises(PolicyNotSupportedError, match="internet"):
        await engine.execute("echo", language="bash", network=NetworkPolicy.INTERNET)


async def test_the_runtime_that_is_asked_for_runs_it(service):
    """The same runc under another name: what matters is that the daemon is told, as it would be of gVisor or Kata."""
    backend = DockerBackend(base_url=service.url, pull=False, runtime="another")
    async with Engine(backend, pool=PoolConfig(ready=0)) as engine:
        sandbox = await start(engine)
        try:
            with contextlib.closing(docker.DockerClient(service.url)) as client:
                assert client.api.inspect_container(sandbox.id)["HostConfig"]["Runtime"] == "another"
        finally:
            await sandbox.kill()
        assert (await engine.execute("echo ran", language="bash")).output == "ran\n"
