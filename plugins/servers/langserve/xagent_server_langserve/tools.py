"""Mounts tools with LangServe: each has invoke, batch, stream, its schemas and a playground below its own path."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from fastapi import Depends, FastAPI, HTTPException, Request
from langchain_core.tools import BaseTool
from langserve import add_routes

from xagent_core.http.guard import ASGIApp, Message, Receive, Scope, Send

__all__ = ["MOST_INPUTS", "PlaygroundPolicy", "mount_tools"]

MOST_INPUTS: Final = 100
"""Inputs of one batch: all of them wait for sandboxes at the same time."""

# The playground's page has a script in it, builds its styles as it runs, and compiles JSON schemas to functions.
_PLAYGROUND: Final = (
    b"default-src 'none'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    b"img-src 'self' data:; font-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    b"frame-ancestors 'none'"
)


def mount_tools(app: FastAPI, tools: Iterable[BaseTool], *, playground: bool) -> None:
    """Gives each tool its routes, below `/tools/NAME`.

    Args:
        app: Gets the routes.
        tools: What is served.
        playground: Whether LangServe's own page for trying a tool is served too.
    """
    for tool in tools:
        add_routes(
            app,
            tool,
            path=f"/tools/{tool.name}",
            config_keys=(),  # how a tool runs is the server's affair
            disabled_endpoints=["feedback", "public_trace_link"] if playground else ["playground"],
            enable_feedback_endpoint=False,
            dependencies=[Depends(_few_inputs)],
        )


async def _few_inputs(request: Request) -> None:
    """Refuses a batch that is too long.

    Raises:
        HTTPException: It is.
    """
    if not request.url.path.endswith("/batch"):
        return
    try:
        body = await request.json()
    except ValueError:
        return  # LangServe says what is wrong with it
    inputs = body.get("inputs") if isinstance(body, dict) else None
    if isinstance(inputs, list) and len(inputs) > MOST_INPUTS:
        raise HTTPException(413, f"a batch has at most {MOST_INPUTS} inputs, and this one has {len(inputs)}")


class PlaygroundPolicy:
    """Gives the playground's pages the content security policy that they need, and no other page."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on."""
        if scope["type"] != "http" or "/playground/" not in scope["path"] or not scope["path"].startswith("/tools/"):
            await self._app(scope, receive, send)
            return

        async def send_with_policy(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], (b"content-security-policy", _PLAYGROUND)]}
            await send(message)

        await self._app(scope, receive, send_with_policy)
