"""Registers the Docker backend; nothing heavy is imported until it is used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from xagent_core import hookimpl
from xagent_core.abc.backend import Backend, BackendRegistration


def _backend(options: Mapping[str, Any]) -> Backend:
    from xagent_docker.backend import DockerBackend

    return DockerBackend.from_options(options)


@hookimpl
def xagent_register_backends() -> list[BackendRegistration]:
    """The backend `docker`."""
    return [
        BackendRegistration(
            name="docker", summary="Docker containers (needs a Docker daemon)", factory=_backend, preference=10
        )
    ]
