"""Announces the command `xagent serve`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xagent_core.abc.command import CommandRegistration
from xagent_core.hookspecs import hookimpl

if TYPE_CHECKING:
    import typer


@hookimpl
def xagent_register_commands() -> list[CommandRegistration]:
    """The command `xagent serve`."""
    summary = "Serve the tools over HTTP, with a web page that runs programs."
    return [CommandRegistration(name="serve", summary=summary, factory=_serve)]


def _serve() -> typer.Typer:
    from xagent_server_langserve.command import make_app

    return make_app()
