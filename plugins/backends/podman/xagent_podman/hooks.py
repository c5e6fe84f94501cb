"""Registers the Podman backend; nothing heavy is imported until it is used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from xagent_core import hookimpl
from xagent_core.abc.backend import Backend, BackendRegistration


def _backend(options: Mapping[str, Any]) -> Backend:
    from xagent_podman.backend import PodmanBackend

    return PodmanBackend.from_options(options)


@hookimpl
def xagent_register_backends() -> list[BackendRegistration]:
    """The backend `podman`."""
    summary = "Podman containers, rootful or rootless (needs Podman)"
    return [BackendRegistration(name="podman", summary=summary, factory=_backend, preference=20)]
