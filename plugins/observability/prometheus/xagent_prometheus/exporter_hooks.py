"""Announces `xagent exporter`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xagent_core import CommandRegistration, hookimpl

if TYPE_CHECKING:
    import typer


def _exporter() -> typer.Typer:
    from xagent_prometheus.command import make_app

    return make_app()


@hookimpl
def xagent_register_commands() -> list[CommandRegistration]:
    """The command `xagent exporter`."""
    return [CommandRegistration(name="exporter", summary="Serve a task queue's metrics.", factory=_exporter)]
