"""Each thing that goes wrong on the daemon's side has its own error, which says what to do. The causes are real."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
import shutil
import socket
import tarfile
import tempfile
import time
from collections.abc import Iterator
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
    SandboxStartError,
)
from xagent_core.types import ExecutionRequest

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
