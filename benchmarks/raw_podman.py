"""Podman without xagent: the bare requests, and `podman run`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from docker.api import APIClient as DockerClient
from podman.api import APIClient
from xagent_podman.container import container_spec, write_profile
from xagent_podman.endpoint import find_endpoint, wake

from benchmarks.raw_docker import RawContainer
from benchmarks.subjects import SAMPLES, settings
from xagent_core.benchmark.subjects import Subject, completed

__all__ = ["PodmanRun", "RawPodman"]

# What `xagent images` makes.
_IMAGE: Final = "localhost/xagent-runtime-python:latest"
_AFTERMATH_SECONDS: Final = 0.3
_JSON: Final = {"Content-Type": "application/json"}


class RawPodman(RawContainer):
    """Podman's own requests; its package cannot attach."""

    group = "podman"

    def __init__(self) -> None:
        self._open = contextlib.ExitStack()

    async def open(self) -> None:
        """Connects."""
        self._endpoint = find_endpoint(None, os.environ)
        folder = self._open.enter_context(tempfile.TemporaryDirectory(prefix="xagent-bench-"))
        self._document = container_spec(
            await settings(self.group),
            name="",
            image=_IMAGE,
            labels={"xagent-bench": "true"},
            profile=write_profile(Path(folder)),
            network="",
        ) | {"entrypoint": list(self.command), "command": []}
        await self.settle()
        self._client = self._open.enter_context(APIClient(base_url=self._endpoint.url, version="4.0.0"))
        self.attaching = self._open.enter_context(
            contextlib.closing(DockerClient(base_url=self._endpoint.url, version="1.41"))
        )

    async def settle(self) -> None:
        """Sees that the service runs: one that nobody uses ends."""
        await asyncio.to_thread(wake, self._endpoint)

    def create(self, name: str) -> str:
        """Creates a container; its id."""
        document = json.dumps(self._document | {"name": name})
        return str(self._post("containers/create", data=document, headers=_JSON).json()["Id"])

    def start(self, container: str) -> None:
        """Starts it."""
        self._post(f"containers/{container}/start")

    def remove(self, container: str) -> None:
        """Removes it by force."""
        force = {"force": "true", "v": "true", "timeout": "0"}
        self._client.delete(f"containers/{container}", params=force).raise_for_status()
        # Its monitor cleans up a little longer than the answer takes: that is not the next subject's time.
        time.sleep(_AFTERMATH_SECONDS)

    def _post(self, path: str, **keywords: Any) -> Any:
        response = self._client.post(path, **keywords)
        response.raise_for_status()
        return response

    async def close(self) -> None:
        """Closes the connections."""
        self._open.close()


class PodmanRun(Subject):
    """The command `podman run`, of the image that `xagent images` makes, with the default limits and no network."""

    group = "podman"
    name = "`podman run`"
    _LIMITS = ("--memory=128m", "--cpus=0.5", "--network=none", "--ulimit=nofile=1024", "--ulimit=nproc=1024")

    async def once(self) -> float:
        """Runs it."""
        program = ("-c", SAMPLES["python"].code)
        return await completed(
            ("podman", "run", "--rm", *self._LIMITS, "--entrypoint", "python3", _IMAGE, *program), output="1"
        )
