"""Each thing that goes wrong on the daemon's side has its own error, which says what to do. The causes are real."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import io
import os
import shutil
import signal
import socket
import subprocess
import tarfile
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from docker.api import APIClient
from xagent_docker.backend import DockerBackend

from xagent_core import (
    BackendPermissionError,
    BackendUnavailableError,
    ConfigError,
    Engine,
    ImageNotFoundError,
    PolicyNotSupportedError,
    SandboxLostError,
    SandboxStartError,
)
from xagent_core.types import ExecutionRequest, NetworkPolicy

needs_docker = pytest.mark.engine("docker")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder whose path is short enough for sockets, and open to everyone."""
    path = Path(tempfile.mkdtemp(prefix="xagent-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@contextlib.contextmanager
def listening(path: Path) -> Iterator[None]:
    """A socket that takes connections and never answers."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        yield


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


async def test_no_socket(folder: Path) -> None:
    backend = DockerBackend(base_url=f"unix://{folder}/none")

    probe = await backend.probe()

    assert (probe.available, probe.refused) == (False, False)
    assert "there is no socket at" in probe.detail
    assert "systemctl start docker" in probe.fix
    with pytest.raises(BackendUnavailableError, match="there is no socket"):
        await backend.reap()
    await backend.aclose()


async def test_nobody_listens_on_the_socket(folder: Path) -> None:
    with listening(folder / "s"):
        pass

    probe = await DockerBackend(base_url=f"unix://{folder}/s").probe()

    assert "no Docker daemon listens at" in probe.detail


async def test_nobody_listens_on_the_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

    probe = await DockerBackend(environ={"DOCKER_HOST": f"tcp://127.0.0.1:{port}"}).probe()

    assert f"no Docker daemon listens at http://127.0.0.1:{port} (from DOCKER_HOST)" in probe.detail


async def test_the_socket_refuses_this_user(folder: Path) -> None:
    with listening(folder / "s"), ordinary_user():
        (folder / "s").chmod(0) if os.geteuid() != 65534 else None
        backend = DockerBackend(base_url=f"unix://{folder}/s")
        probe = await backend.probe()

    assert (probe.available, probe.refused) == (False, True)
    assert "usermod -aG docker" in probe.fix
    assert isinstance(probe.error("docker"), BackendPermissionError)


async def test_a_daemon_that_does_not_answer(folder: Path) -> None:
    with listening(folder / "s"):
        started = time.monotonic()
        probe = await DockerBackend(base_url=f"unix://{folder}/s").probe()

    assert "not answer" in probe.detail
    assert time.monotonic() - started < 6


async def test_ssh_is_refused_with_a_way_round_it() -> None:
    probe = await DockerBackend(base_url="ssh://user@host").probe()

    assert "ssh://user@host (from the option base_url) is not supported" in probe.detail
    assert "ssh -nNT -L" in probe.fix


def test_an_unknown_option_is_named() -> None:
    with pytest.raises(ConfigError, match="unknown option 'sudo'"):
        DockerBackend.from_options({"sudo": True})
    with pytest.raises(ConfigError, match=r"backends\.docker\.pull.*is not a bool"):
        DockerBackend.from_options({"pull": "yes"})


@needs_docker
@pytest.mark.parametrize(
    ("pull", "words"), [(False, "pulling is switched off"), (True, "cannot be pulled: .*(refused|denied|dial)")]
)
async def test_a_missing_image(engine: Engine, pull: bool, words: str) -> None:
    backend = DockerBackend(pull=pull)
    spec = engine.plan(ExecutionRequest(code="", language="test-sh")).spec

    # Nothing listens on port 1, so this registry refuses at once.
    with pytest.raises(ImageNotFoundError, match=words) as caught:
        await backend.start(dataclasses.replace(spec, image="127.0.0.1:1/xagent-none:1"))

    await backend.aclose()
    assert "xagent images build test-sh" in caught.value.fix


@needs_docker
async def test_an_image_that_is_removed_and_comes_back(engine: Engine, client: APIClient) -> None:
    spec = dataclasses.replace(
        engine.plan(ExecutionRequest(code="", language="test-sh")).spec, image="xagent-test:gone"
    )
    backend = DockerBackend(pull=False)
    client.tag("xagent-test:1", "xagent-test", "gone")
    await (await backend.start(spec)).kill()

    client.remove_image("xagent-test:gone")
    with pytest.raises(ImageNotFoundError):
        await backend.start(spec)

    client.tag("xagent-test:1", "xagent-test", "gone")
    await (await backend.start(spec)).kill()
    client.remove_image("xagent-test:gone")
    await backend.aclose()


@needs_docker
async def test_an_image_without_sh(engine: Engine, client: APIClient) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("empty"))
    client.import_image_from_data(buffer.getvalue(), repository="xagent-test", tag="empty")
    spec = engine.plan(ExecutionRequest(code="", language="test-sh")).spec
    try:
        with pytest.raises(SandboxStartError, match=r"executable file not found.*Use an image that has sh"):
            await engine.backend.start(dataclasses.replace(spec, image="xagent-test:empty"))
    finally:
        client.remove_image("xagent-test:empty")


class ThrowAwayDaemon:
    """A Docker daemon of its own beside the machine's, with no network."""

    def __init__(self, folder: Path) -> None:
        self.url = f"unix://{folder}/s"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        names = ("data-root", "exec-root", "pidfile", "host", "containerd-namespace", "containerd-plugins-namespace")
        values = (self._folder / "data", self._folder / "exec", self._folder / "pid", self.url, "xt", "xtp")
        options = [f"--{name}={value}" for name, value in zip(names, values, strict=True)]
        # Where process 1 does not reap, the containerd of a killed daemon stays as a zombie, and passes for alive.
        (self._folder / "exec/containerd/containerd.pid").unlink(missing_ok=True)
        log = (self._folder / "log").open("ab")
        with log:
            # In a network namespace of its own: --bridge=none removes docker0, which another daemon may need.
            command = ["unshare", "--net", "dockerd", *options, "--bridge=none", "--iptables=false"]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        for _ in range(300):
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as sock:
                sock.connect(self.url.removeprefix("unix://"))
                return
            time.sleep(0.1)
        pytest.fail((self._folder / "log").read_text())

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)
        # One that was killed has left the mount of its data folder on itself.
        mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
        for path in [path for path in reversed(mounts) if path.startswith(f"{self._folder}/")]:
            subprocess.run(["umount", path], check=True)

    def _end(self, how: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(how)
        self._process.wait()


@pytest.fixture
async def daemon(folder: Path, image: str, client: APIClient) -> AsyncIterator[ThrowAwayDaemon]:
    if os.geteuid() != 0 or shutil.which("dockerd") is None:
        pytest.skip("needs root and dockerd")
    daemon = ThrowAwayDaemon(folder)
    daemon.start()
    other = APIClient(daemon.url, version="auto")
    other.load_image(b"".join(client.get_image(image)))
    yield daemon
    daemon.stop()
    other.close()


@needs_docker
async def test_a_daemon_that_dies_in_the_middle(daemon: ThrowAwayDaemon, make_engine: Callable[..., Engine]) -> None:
    async with make_engine(DockerBackend(base_url=daemon.url)) as engine:
        spec = engine.plan(ExecutionRequest(code="", language="test-sh")).spec
        ready = await engine.backend.start(spec)
        running = asyncio.ensure_future(engine.execute("sleep 60", language="test-sh"))
        await asyncio.sleep(2)

        await asyncio.to_thread(daemon.kill)

        with pytest.raises(SandboxLostError) as caught:
            await running
        assert caught.value.code_ran == "maybe"
        with pytest.raises(SandboxLostError) as caught:
            await ready.send(b"echo\n")
        assert caught.value.code_ran == "no"
        with pytest.raises(BackendUnavailableError, match="no Docker daemon listens"):
            await engine.backend.start(spec)
        assert not (await engine.backend.probe()).available

        await asyncio.to_thread(daemon.start)

        assert (await engine.execute("echo back", language="test-sh")).output == "back\n"


@needs_docker
async def test_a_daemon_without_a_network_offers_none(
    daemon: ThrowAwayDaemon, make_engine: Callable[..., Engine]
) -> None:
    async with make_engine(DockerBackend(base_url=daemon.url)) as engine:
        with pytest.raises(PolicyNotSupportedError, match="internet"):
            await engine.execute("echo", language="test-sh", network=NetworkPolicy.INTERNET)
