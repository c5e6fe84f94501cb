"""Registers the Docker backend; nothing heavy is imported until it is used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from xagent_core import hookimpl
from xagent_core.abc.backend import Backend, BackendRegistration
from xagent_core.abc.command import CommandRegistration

if TYPE_CHECKING:
    import typer


def _backend(options: Mapping[str, Any]) -> Backend:
    from xagent_docker.backend import DockerBackend

    return DockerBackend.from_options(options)


def _images() -> typer.Typer:
    from xagent_docker.images.command import make_app

    return make_app()


@hookimpl
def xagent_register_backends() -> list[BackendRegistration]:
    """The backend `docker`."""
    summary = "Docker containers (needs a Docker daemon)"
    return [BackendRegistration(name="docker", summary=summary, factory=_backend, preference=10)]


@hookimpl
def xagent_register_commands() -> list[CommandRegistration]:
    """The command `xagent images`."""
    return [CommandRegistration(name="images", summary="List, pull and build images of languages.", factory=_images)]
