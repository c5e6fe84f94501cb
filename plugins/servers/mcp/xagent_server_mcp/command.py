"""The command `xagent mcp`: its options, and what it prints, none of it on stdout."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from xagent_core.cli.interrupt import run_interruptible
from xagent_core.cli.report import note
from xagent_core.config import load_settings
from xagent_core.engine import Engine
from xagent_core.http import options
from xagent_core.http.limits import RequestLimits

if TYPE_CHECKING:
    from mcp.server.lowlevel import Server

__all__ = ["make_app"]


def make_app() -> typer.Typer:
    """The command's application."""
    app = typer.Typer(rich_markup_mode=None, add_completion=False, pretty_exceptions_enable=False)
    app.command()(serve_tools)
    return app


def serve_tools(
    *,
    over_http: Annotated[bool, typer.Option("--http", help="Speak streamable HTTP at /mcp, and not stdio.")] = False,
    host: options.Host = "127.0.0.1",
    port: options.Port = 8001,
    backend: options.BackendName = None,
    workspace: options.Workspace = None,
    tools: options.ToolNames = None,
    token_file: options.TokenFile = None,
    ask_token: options.AskToken = False,
    allowed_hosts: options.AllowedHosts = None,
    certificate: options.Certificate = None,
    key: options.Key = None,
    grace: options.Grace = 10,
) -> None:
    """Serve the tools to MCP clients: over stdio, to the one that starts this command, or over HTTP.

    Over HTTP, where other machines can call, callers must show a token: one that is given, or else one that is made
    and printed. Where only this machine can call, no token is needed, and only this user's processes are served.
    """
    if not over_http:
        from xagent_server_mcp.stdio import own_streams

        with own_streams() as (source, target):
            run_interruptible(_stdio(backend, workspace, tools, source, target))
        return
    with options.open_entry(
        host,
        port,
        token_file=token_file,
        ask_token=ask_token,
        allowed_hosts=allowed_hosts,
        certificate=certificate,
        key=key,
    ) as entry:
        run_interruptible(_http(backend, workspace, tools, entry, grace))


@asynccontextmanager
async def _server(
    backend: str | None, workspace: Path | None, names: Sequence[str] | None
) -> AsyncGenerator[tuple[Server[Any, Any], str]]:
    """The server, and what it serves with what."""
    from xagent_core.toolbox import get_tools
    from xagent_server_mcp.server import make_server

    async with Engine(backend, settings=load_settings()) as engine:
        tools = get_tools(engine, workspace=workspace, names=names or None)
        yield make_server(tools), f"{len(tools)} tools with {engine.backend.name}"


async def _stdio(
    backend: str | None, workspace: Path | None, names: Sequence[str] | None, source: int, target: TextIO
) -> None:
    from xagent_server_mcp.stdio import serve_stdio

    async with _server(backend, workspace, names) as (server, what):
        note(f"serving {what} on stdin and stdout")
        await serve_stdio(server, source, target)


async def _http(
    backend: str | None, workspace: Path | None, names: Sequence[str] | None, entry: options.Entry, grace: float
) -> None:
    from xagent_server_mcp.http import PATH, serve_http

    async with _server(backend, workspace, names) as (server, what):

        def opened() -> None:
            note(f"serving {what} at {entry.door.url.rstrip('/')}{PATH}")
            for line in entry.lines():
                note(line)

        await serve_http(server, entry, limits=RequestLimits(), grace=grace, opened=opened)
