"""The command `xagent serve`: its options, and what it prints."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from xagent_core.cli.interrupt import run_interruptible
from xagent_core.cli.report import note
from xagent_core.config import Settings, load_settings
from xagent_core.http.limits import RequestLimits
from xagent_core.http.server import Door, open_door, serve
from xagent_core.http.token import TOKEN_VARIABLE, Token, find_token
from xagent_core.plugins import load_plugins
from xagent_core.types import parse_size

__all__ = ["make_app"]

_LIMITS = RequestLimits()


def make_app() -> typer.Typer:
    """The command's application."""
    app = typer.Typer(rich_markup_mode=None, add_completion=False, pretty_exceptions_enable=False)
    app.command()(serve_tools)
    return app


def serve_tools(
    *,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 lets the system choose.")] = 8000,
    backend: Annotated[
        str | None, typer.Option("--backend", "-b", help="A backend's name, or auto for the best that answers.")
    ] = None,
    workspace: Annotated[
        Path | None, typer.Option(help="The folder that file tools are confined to.", file_okay=False)
    ] = None,
    tools: Annotated[
        list[str] | None, typer.Option("--tool", metavar="NAME", help="Serve only this tool. Repeatable.")
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option(help=f"Holds the token. The variable {TOKEN_VARIABLE} may hold it as well.")
    ] = None,
    ask_token: Annotated[
        bool, typer.Option("--token", help="Ask for a token also where only this machine can call.")
    ] = False,
    allowed_hosts: Annotated[
        list[str] | None,
        typer.Option("--allowed-host", metavar="NAME", help="A name that the server is called by. Repeatable."),
    ] = None,
    certificate: Annotated[Path | None, typer.Option(help="A PEM file, for TLS.", dir_okay=False)] = None,
    key: Annotated[Path | None, typer.Option(help="The certificate's key.", dir_okay=False)] = None,
    playground: Annotated[bool, typer.Option(help="Serve LangServe's own page for each tool.")] = True,
    max_body: Annotated[str, typer.Option(help="The largest request.")] = "4m",
    max_requests: Annotated[int, typer.Option(min=1, help="Requests that run at once.")] = _LIMITS.concurrent,
    rate: Annotated[float, typer.Option(min=1, help="Requests a minute of one address.")] = _LIMITS.per_minute,
    request_timeout: Annotated[float, typer.Option(min=1, help="Seconds for one request.")] = _LIMITS.seconds,
    grace: Annotated[float, typer.Option(min=1, help="Seconds that requests have to end when the server does.")] = 10,
) -> None:
    """Serve the tools over HTTP with LangServe, and a web page that runs programs.

    Where other machines can call, callers must show a token: one that is given, or else one that is made and
    printed. Where only this machine can call, no token is needed, and only this user's processes are served.
    """
    settings = load_settings()
    limits = RequestLimits(body=parse_size(max_body), concurrent=max_requests, per_minute=rate, seconds=request_timeout)
    token = find_token(token_file, os.environ)
    door = open_door(host, port, certificate=certificate, key=key)
    with door.socket:
        if token is None and (ask_token or not door.is_local):
            token = Token.made()
        # Whatever name leads here, the token is asked for: names are only checked where some were given.
        hosts = allowed_hosts or (() if door.is_local else None)
        served = _serve(
            door,
            token,
            settings,
            backend=backend,
            workspace=workspace,
            names=tools,
            limits=limits,
            hosts=hosts,
            playground=playground,
            grace=grace,
        )
        run_interruptible(served)


async def _serve(
    door: Door,
    token: Token | None,
    settings: Settings,
    *,
    backend: str | None,
    workspace: Path | None,
    names: Sequence[str] | None,
    limits: RequestLimits,
    hosts: Sequence[str] | None,
    playground: bool,
    grace: float,
) -> None:
    import warnings

    from xagent_core.toolbox import get_tools
    from xagent_server_langserve.app import make_asgi_app
    from xagent_server_langserve.engines import Engines

    # LangServe 0.3.3 asks instances of pydantic models for what their class knows.
    warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"langserve\b")
    plugins = load_plugins(settings.disabled_plugins)
    async with Engines(backend, settings=settings, plugins=plugins) as engines:
        tools = get_tools(engines.first, workspace=workspace, names=names or None)
        app = make_asgi_app(
            engines,
            tools,
            token=token,
            limits=limits,
            port=door.port,
            hosts=hosts,
            playground=playground,
            secure=door.certificate is not None,
        )

        def opened() -> None:
            note(f"serving {len(tools)} tools on {door.url} with {engines.first.backend.name}")
            if token is not None and not token.source:
                # Behind the # it never leaves the browser, nor gets into a log.
                note(f"the token, which is shown only now: {token.reveal()}")
                note(f"log in at {door.url}login#token={token.reveal()}")
            elif token is not None:
                note(f"callers show the token of {token.source}")
            else:
                note("callers are this user's processes; --token asks for a token instead")

        await serve(app, door, grace=grace, opened=opened)
