"""Announces the command `xagent mcp`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xagent_core.abc.command import CommandRegistration
from xagent_core.hookspecs import hookimpl

if TYPE_CHECKING:
    import typer


@hookimpl
def xagent_register_commands() -> list[CommandRegistration]:
    """The command `xagent mcp`."""
    summary = "Serve the tools to MCP clients, over stdio or HTTP."
    return [CommandRegistration(name="mcp", summary=summary, factory=_mcp)]


def _mcp() -> typer.Typer:
    from xagent_server_mcp.command import make_app

    return make_app()
