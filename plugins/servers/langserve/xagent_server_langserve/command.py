"""The command `xagent serve`: its options, and what it prints."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from xagent_core.cli.interrupt import run_interruptible
from xagent_core.cli.report import note
from xagent_core.config import Settings, load_settings
from xagent_core.http import options
from xagent_core.http.limits import RequestLimits
from xagent_core.http.server import serve
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
    host: options.Host = "127.0.0.1",
    port: options.Port = 8000,
    backend: options.BackendName = None,
    workspace: options.Workspace = None,
    tools: options.ToolNames = None,
    token_file: options.TokenFile = None,
    ask_token: options.AskToken = False,
    allowed_hosts: options.AllowedHosts = None,
    certificate: options.Certificate = None,
    key: options.Key = None,
    playground: Annotated[bool, typer.Option(help="Serve LangServe's own page for each tool.")] = True,
    max_body: Annotated[str, typer.Option(help="The largest request.")] = "4m",
    max_requests: Annotated[int, typer.Option(min=1, help="Requests that run at once.")] = _LIMITS.concurrent,
    rate: Annotated[float, typer.Option(min=1, help="Requests a minute of one address.")] = _LIMITS.per_minute,
    request_timeout: Annotated[float, typer.Option(min=1, help="Seconds for one request.")] = _LIMITS.seconds,
    grace: options.Grace = 10,
) -> None:
    """Serve the tools over HTTP with LangServe, and a web page that runs programs.

    Where other machines can call, callers must show a token: one that is given, or else one that is made and
    printed. Where only this machine can call, no token is needed, and only this user's processes are served.
    """
    settings = load_settings()
    limits = RequestLimits(body=parse_size(max_body), concurrent=max_requests, per_minute=rate, seconds=request_timeout)
    with options.open_entry(
        host,
        port,
        token_file=token_file,
        ask_token=ask_token,
        allowed_hosts=allowed_hosts,
        certificate=certificate,
        key=key,
    ) as entry:
        run_interruptible(
            _serve(
                entry,
                settings,
                backend=backend,
                workspace=workspace,
                names=tools,
                limits=limits,
                playground=playground,
                grace=grace,
            )
        )


async def _serve(
    entry: options.Entry,
    settings: Settings,
    *,
    backend: str | None,
    workspace: Path | None,
    names: Sequence[str] | None,
    limits: RequestLimits,
    playground: bool,
    grace: float,
) -> None:
    from xagent_core.toolbox import get_tools
    from xagent_server_langserve.app import make_asgi_app
    from xagent_server_langserve.engines import Engines

    # LangServe 0.3.3 asks instances of pydantic models for what their class knows.
    warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"langserve\b")
    plugins = load_plugins(settings.disabled_plugins)
    plugins.observe("xagent_process_started", command="serve")
    async with Engines(backend, settings=settings, plugins=plugins) as engines:
        tools = get_tools(engines.first, workspace=workspace, names=names or None)
        app = make_asgi_app(
            engines,
            tools,
            token=entry.token,
            limits=limits,
            port=entry.door.port,
            hosts=entry.hosts,
            playground=playground,
            secure=entry.door.certificate is not None,
        )

        def opened() -> None:
            note(f"serving {len(tools)} tools on {entry.door.url} with {engines.first.backend.name}")
            for line in entry.lines(login="login"):
                note(line)

        await serve(app, entry.door, grace=grace, opened=opened)
