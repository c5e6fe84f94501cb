"""Each thing that goes wrong on Podman's side has its own error, which says what to do. The causes are real."""

from __future__ import annotations

import asyncio
import dataclasses
import io
import socket
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from xagent_podman.backend import PodmanBackend

from xagent_core import (
    BackendPermissionError,
    ConfigError,
    Engine,
    ImageNotFoundError,
    Packages,
    SandboxStartError,
)
from xagent_core.types import ExecutionRequest

from .conftest import ordinary_user

needs_podman = pytest.mark.engine("podman")


async def test_nobody_listens_on_the_socket(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"{folder}/s")
        server.listen()

    probe = await PodmanBackend(base_url=f"unix://{folder}/s").probe()

    assert "no Podman service listens at" in probe.detail
    assert "podman system service" in probe.fix


async def test_the_socket_refuses_this_user(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"{folder}/s")
        server.listen()
        with ordinary_user():
            probe = await PodmanBackend(base_url=f"unix://{folder}/s").probe()

    assert (probe.available, probe.refused) == (False, True)
    assert "rootless" in probe.fix
    assert isinstance(probe.error("podman"), BackendPermissionError)


async def test_a_service_that_does_not_answer(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"{folder}/s")
        server.listen()
        probe = await PodmanBackend(base_url=f"unix://{folder}/s").probe()

    assert "not answer" in probe.detail


async def test_ssh_is_refused() -> None:
    probe = await PodmanBackend(environ={"CONTAINER_HOST": "ssh://user@host/run/podman.sock"}).probe()

    assert "ssh://user@host/run/podman.sock (from CONTAINER_HOST) is not supported" in probe.detail
    assert probe.fix


def test_an_unknown_option_is_named() -> None:
    with pytest.raises(ConfigError, match="unknown option 'sudo'"):
        PodmanBackend.from_options({"sudo": True})
    with pytest.raises(ConfigError, match=r"backends\.podman\.pull.*is not a bool"):
        PodmanBackend.from_options({"pull": "yes"})


@needs_podman
@pytest.mark.parametrize(("pull", "words"), [(False, "pulling is switched off"), (True, "cannot be pulled: .*refused")])
async def test_a_missing_image(engine: Engine, pull: bool, words: str) -> None:
    backend = PodmanBackend(pull=pull)
    spec = engine.plan(ExecutionRequest(code="", language="bash")).spec

    # Nothing listens on port 1, so this registry refuses at once.
    missing = dataclasses.replace(spec, language="none", image="127.0.0.1:1/xagent-none:1")
    with pytest.raises(ImageNotFoundError, match=words) as caught:
        await backend.start(missing)

    assert "xagent images build none --backend podman" in caught.value.fix
    assert "the Podman service could not" not in caught.value.cause

    # Of a language that names no packages nobody could build one.
    with pytest.raises(ImageNotFoundError, match=words) as caught:
        await backend.start(dataclasses.replace(missing, packages=Packages()))
    assert "images build" not in caught.value.fix
    assert "`podman pull 127.0.0.1:1/xagent-none:1`, or `podman load`" in caught.value.fix
    await backend.aclose()


@needs_podman
async def test_an_image_that_is_removed_and_comes_back(
    make_engine: Callable[..., Engine], podman: Callable[..., str]
) -> None:
    name = "localhost/xagent-test:gone"
    async with make_engine(images={"bash": name}) as engine:
        podman("tag", "xagent-runtime-bash", name)
        assert (await engine.execute("echo 1", language="bash")).ok
        podman("untag", name, name)
        with pytest.raises(ImageNotFoundError):
            await engine.execute("echo 2", language="bash")
        podman("tag", "xagent-runtime-bash", name)
        assert (await engine.execute("echo 3", language="bash")).ok
        podman("untag", name, name)


@needs_podman
async def test_an_image_without_sh(make_engine: Callable[..., Engine], podman: Callable[..., str]) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("empty"))
    podman("import", "-", "localhost/xagent-test:empty", stdin=buffer.getvalue())
    try:
        async with make_engine(images={"bash": "localhost/xagent-test:empty"}) as engine:
            with pytest.raises(SandboxStartError, match="Use an image that has sh"):
                await engine.execute("echo", language="bash")
    finally:
        podman("rmi", "localhost/xagent-test:empty")


@needs_podman
async def test_a_runtime_that_podman_does_not_use() -> None:
    backend = PodmanBackend(runtime="no-such-runtime")
    probe = await backend.probe()
    await backend.aclose()
    assert "not with no-such-runtime" in probe.detail
    assert 'runtime = "no-such-runtime"' in probe.fix


@needs_podman
async def test_a_container_that_goes_while_it_is_looked_at_is_gone(engine: Engine) -> None:
    async def watch(container: str) -> str:
        while await service.state(container):
            pass
        return "gone"

    spec = engine.plan(ExecutionRequest(code="", language="bash")).spec
    for _ in range(5):
        sandbox = await engine.backend.start(spec)
        service = await engine.backend._connect()
        watchers = [watch(sandbox.id) for _ in range(3)]
        assert await asyncio.gather(sandbox.kill(), *watchers) == [None, "gone", "gone", "gone"]
