"""Docker without xagent: the bare requests, `docker run`, and the loop that users of the SDK write."""

from __future__ import annotations

import asyncio
import functools
import json
import secrets
import subprocess
import time
from abc import abstractmethod
from typing import Any, Final

from docker.api import APIClient
from docker.client import from_env
from docker.utils import kwargs_from_env
from xagent_docker.container import container_config

from benchmarks.subjects import SAMPLES
from xagent_core import Engine, ExecutionRequest
from xagent_core.abc.backend import SandboxSpec
from xagent_core.benchmark.subjects import Subject, completed
from xagent_core.config import PoolConfig

__all__ = ["NO_NETWORK", "DockerRun", "RawContainer", "RawDocker", "SdkLoop", "image_and_spec", "sdk_run"]

_LABELS: Final = {"xagent-bench": "true"}
_PYTHON: Final = ("python3", "-c", SAMPLES["python"].code)


class RawContainer(Subject):
    """Create, attach, start, with the settings of a sandbox: what one costs at least. Nothing is run in it."""

    name = "create, attach, start"
    command = ("sh", "-c", "read -r line")
    attaching: Any
    """A client of Docker's SDK."""

    async def once(self) -> float:
        """Makes one, and removes it outside of the time."""
        return await asyncio.to_thread(self._once)

    def _once(self) -> float:
        began = time.perf_counter()
        container = self.create(f"xagent-bench-{secrets.token_hex(6)}")
        try:
            streams = self.attaching.attach_socket(container, {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1})
            self.start(container)
            seconds = time.perf_counter() - began
            streams.close()
        finally:
            self.remove(container)
        return seconds

    @abstractmethod
    def create(self, name: str) -> str:
        """Creates a container; its id."""

    @abstractmethod
    def start(self, container: str) -> None:
        """Starts it."""

    @abstractmethod
    def remove(self, container: str) -> None:
        """Removes it by force."""


class RawDocker(RawContainer):
    """The SDK's requests."""

    group = "docker"

    def __init__(self, image: str, spec: SandboxSpec) -> None:
        self._config = container_config(
            spec, image=image, volumes=(), labels=_LABELS, runtime=None, network="bridge"
        ) | {"Entrypoint": list(self.command)}
        self.attaching = self._client = _client()

    def create(self, name: str) -> str:
        """Creates a container; its id."""
        return str(self._client.create_container_from_config(self._config, name)["Id"])

    def start(self, container: str) -> None:
        """Starts it."""
        self._client.start(container)

    def remove(self, container: str) -> None:
        """Removes it by force."""
        self._client.remove_container(container, force=True)

    async def close(self) -> None:
        """Closes the connections."""
        self._client.close()


class DockerRun(Subject):
    """The command `docker run`, with the same memory and CPU and no network."""

    group = "docker"
    name = "`docker run`"

    def __init__(self, image: str, spec: SandboxSpec) -> None:
        limits = ("--memory", str(spec.memory), "--cpus", str(spec.cpus), "--network", "none")
        self._command = ("docker", "run", "--rm", *limits, "--entrypoint", "python3", image, *_PYTHON[1:])

    async def once(self) -> float:
        """Runs it."""
        return await completed(self._command, output="1")


NO_NETWORK: Final[dict[str, dict[str, Any]]] = {
    "network none": {"network_mode": "none"},
    "network disabled": {"network_disabled": True},
}
"""How a container is kept from the network: as everybody writes it, and as starts in half the time."""


class SdkLoop(Subject):
    """Docker's SDK for Python: create, start, wait, logs, remove, with the same memory and CPU.

    Args:
        image: The sandboxes' image.
        spec: Their settings.
        network: A key of `NO_NETWORK`.
    """

    group = "docker"

    def __init__(self, image: str, spec: SandboxSpec, network: str) -> None:
        self.name = f"SDK: create, start, wait, logs, remove; {network}"
        self._client = from_env()
        self._run = functools.partial(sdk_run, self._client, image, spec, network)

    async def once(self) -> float:
        """Runs the program until its output is there, and removes the container, as in the loop."""
        return await asyncio.to_thread(self._run)

    async def close(self) -> None:
        """Closes the connections."""
        self._client.close()


def sdk_run(client: Any, image: str, spec: SandboxSpec, network: str) -> float:
    """One turn of the plain loop.

    Returns:
        Its seconds.

    Raises:
        RuntimeError: The program printed something else.
    """
    began = time.perf_counter()
    container = client.containers.create(
        image,
        list(_PYTHON[1:]),
        entrypoint=_PYTHON[0],
        labels=_LABELS,
        mem_limit=spec.memory,
        nano_cpus=int(spec.cpus * 1e9),
        **NO_NETWORK[network],
    )
    container.start()
    container.wait()
    output = container.logs()
    container.remove()
    if output.strip() != b"1":
        raise RuntimeError(f"the container printed {output[:80]!r} instead of 1")
    return time.perf_counter() - began


async def image_and_spec(language: str) -> tuple[str, SandboxSpec]:
    """The image that xagent's sandboxes of a language have here, and their settings."""
    async with Engine("docker", pool=PoolConfig(ready=0)) as engine:
        spec = engine.plan(ExecutionRequest(code=SAMPLES[language].code, language=language)).spec
        sandbox = await engine.backend.start(spec)
        try:
            inspect = ["docker", "inspect", "--format", "{{json .Config.Image}}", sandbox.id]
            found = await asyncio.to_thread(subprocess.run, inspect, stdout=subprocess.PIPE, check=True)
        finally:
            await sandbox.kill()
    return str(json.loads(found.stdout)), spec


def _client() -> Any:
    return APIClient(version="auto", **kwargs_from_env())
