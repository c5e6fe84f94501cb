"""Announces the bubblewrap backend."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from xagent_core.abc.backend import Backend, BackendRegistration
from xagent_core.hookspecs import hookimpl


def _backend(options: Mapping[str, Any]) -> Backend:
    from xagent_bubblewrap.backend import BubblewrapBackend

    return BubblewrapBackend.from_options(options)


@hookimpl
def xagent_register_backends() -> list[BackendRegistration]:
    """The backend, behind every container engine: it has no images, only this machine's own programs."""
    return [
        BackendRegistration(
            name="bubblewrap",
            summary="namespaces, seccomp and cgroups by bwrap: no daemon, no images",
            factory=_backend,
            preference=50,
        )
    ]
