"""Each thing that goes wrong on the daemon's side has its own error, which says what to do. The causes are real."""

from __future__ import annotations

import asyncio
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
    Packages,
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
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # nobody else gets this port meanwhile
        port = nobody.getsockname()[1]
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
    assert time.monotonic() - started < 30


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
    assert "docker load" in caught.value.fix


@needs_docker
async def test_what_is_advised_to_who_cannot_have_an_image_pulled_helps(engine: Engine, client: APIClient) -> None:
    name = "127.0.0.1:1/xagent-none:2"
    spec = engine.plan(ExecutionRequest(code="", language="test-sh")).spec
    missing = dataclasses.replace(spec, image=name)
    backend, own_image = DockerBackend(), DockerBackend(images={"test-sh": spec.image})

    # Only where packages are named can an image be built of them.
    with pytest.raises(ImageNotFoundError) as caught:
        await backend.start(dataclasses.replace(missing, packages=Packages(apt=("dash",))))
    assert "run `xagent images build test-sh --backend docker`" in caught.value.fix
    with pytest.raises(ImageNotFoundError) as caught:
        await backend.start(missing)
    assert "images build" not in caught.value.fix
    assert f"by hand (`docker pull {name}`, or `docker load` from a file)" in caught.value.fix
    assert "in the table [backends.docker.images]" in caught.value.fix

    await (await own_image.start(missing)).kill()
    client.tag(spec.image, *name.rsplit(":", 1))
    await (await backend.start(missing)).kill()
    client.remove_image(name)
    await asyncio.gather(backend.aclose(), own_image.aclose())


@needs_docker
async def test_the_users_own_image_that_is_missing_is_not_one_to_be_built(engine: Engine) -> None:
    spec = engine.plan(ExecutionRequest(code="", language="test-sh")).spec
    backend = DockerBackend(images={"test-sh": "xagent-test:none"}, pull=False)

    with pytest.raises(ImageNotFoundError, match="image xagent-test:none is not present") as caught:
        await backend.start(dataclasses.replace(spec, packages=Packages(apt=("dash",))))

    await backend.aclose()
    assert "images build" not in caught.value.fix
    assert "docker pull xagent-test:none" in caught.value.fix


@needs_docker
async def test_a_language_without_any_image_is_told_where_to_name_one(engine: Engine) -> None:
    spec = engine.plan(ExecutionRequest(code="", language="test-sh")).spec

    with pytest.raises(ImageNotFoundError, match="there is no image for test-sh") as caught:
        await engine.backend.start(dataclasses.replace(spec, image=""))

    assert caught.value.fix.startswith("Name an image in the table [backends.docker.images]")


@needs_docker
async def test_an_image_that_is_removed_and_comes_back(engine: Engine, client: APIClient, image: str) -> None:
    spec = dataclasses.replace(
        engine.plan(ExecutionRequest(code="", language="test-sh")).spec, image="xagent-test:gone"
    )
    backend = DockerBackend(pull=False)
    client.tag(image, "xagent-test", "gone")
    await (await backend.start(spec)).kill()

    client.remove_image("xagent-test:gone")
    with pytest.raises(ImageNotFoundError):
        await backend.start(spec)

    client.tag(image, "xagent-test", "gone")
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
