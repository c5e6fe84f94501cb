"""Mounts tools with LangServe: each has invoke, batch, stream, its schemas and a playground below its own path."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from types import GenericAlias
from typing import Any, Final

from fastapi import Depends, FastAPI, HTTPException, Request
from langchain_core.tools import BaseTool
from langserve import add_routes
from pydantic import BaseModel, Field, create_model

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
            dependencies=[Depends(_check(tool))],
        )


class _Call(BaseModel):
    """What every call has. LangServe takes a null for a config, and then fails."""

    config: dict[str, Any] | list[dict[str, Any]] = Field(default_factory=dict)


class _Batch(_Call):
    inputs: list[Any]


def _check(tool: BaseTool) -> Callable[[Request], Awaitable[None]]:
    """What refuses the bodies that LangServe would not refuse, but fail at.

    These are inputs of a batch that do not fit, and what Python's JSON takes but JSON has not: half a surrogate pair.
    """
    inputs: Any = GenericAlias(list, (tool.get_input_schema(),))
    batch = create_model("Batch", __base__=_Batch, inputs=(inputs, ...))

    async def check(request: Request) -> None:
        """Reads the body, which the request keeps.

        Raises:
            ValidationError: It does not fit.
            HTTPException: It is a batch that is too long.
        """
        if request.method != "POST":
            return
        model = batch if request.url.path.endswith("/batch") else _Call
        call = model.model_validate_json(await request.body())
        if isinstance(call, _Batch) and len(call.inputs) > MOST_INPUTS:
            raise HTTPException(413, f"a batch has at most {MOST_INPUTS} inputs, and this one has {len(call.inputs)}")

    return check


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
