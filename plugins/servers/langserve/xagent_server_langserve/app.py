"""Puts the server together: tools, page and health, behind the guard and the limits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fastapi import FastAPI
from langchain_core.tools import BaseTool

from xagent_core import __version__
from xagent_core.http.guard import ASGIApp, Guard
from xagent_core.http.limits import Limited, RequestLimits
from xagent_core.http.token import Token
from xagent_server_langserve.engines import Engines
from xagent_server_langserve.errors import report_errors
from xagent_server_langserve.login import Logins
from xagent_server_langserve.metrics import Metered
from xagent_server_langserve.page import page_routes
from xagent_server_langserve.runs import run_routes
from xagent_server_langserve.tools import PlaygroundPolicy, mount_tools

__all__ = ["make_asgi_app"]

_HEALTH = ("/healthz", "/readyz")


def make_asgi_app(
    engines: Engines,
    tools: Sequence[BaseTool],
    *,
    token: Token | None,
    limits: RequestLimits,
    port: int,
    hosts: Iterable[str] | None = (),
    playground: bool = True,
    secure: bool = False,
) -> ASGIApp:
    """The server's application. It needs no lifespan: the engines are the caller's.

    Args:
        engines: Run programs; open for as long as the application is used.
        tools: What is served below `/tools`.
        token: What callers show; None for this user's own processes.
        limits: Of requests.
        port: Of the server.
        hosts: The names that it is called by, as `Guard` takes them.
        playground: Whether LangServe's page for each tool is served.
        secure: Whether it speaks TLS.
    """
    # FastAPI's own pages of documentation load scripts from elsewhere.
    app = FastAPI(title="xagent", version=__version__, docs_url=None, redoc_url=None)
    report_errors(app)
    mount_tools(app, tools, playground=playground)
    logins = Logins(token, port=port, secure=secure)
    limited = Limited(PlaygroundPolicy(app), limits, exempt=_HEALTH)
    guard = Guard(
        limited,
        token=token,
        hosts=hosts,
        public=[*_HEALTH, "/login", "/static/"],
        admits=logins.admits,
        login="/login",
    )
    metered = Metered(guard)
    names = [tool.name for tool in tools]
    for router in (
        page_routes(),
        logins.routes(),
        metered.routes(),
        run_routes(engines, tools=names, logs_in=token is not None),
    ):
        app.include_router(router)
    return metered
