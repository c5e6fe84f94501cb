"""Calls an ASGI application as a server does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest


@dataclass
class Call:
    """One request, and what was answered."""

    app: Any
    method: str = "GET"
    path: str = "/"
    headers: dict[str, str] = field(default_factory=dict)
    body: tuple[bytes, ...] = (b"",)
    client: tuple[str, int] = ("203.0.113.5", 4000)
    server: tuple[str, int] = ("203.0.113.1", 8000)
    sent: list[Any] = field(default_factory=list)
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self._left = list(self.body)

    async def receive(self):
        if self._left:
            return {"type": "http.request", "body": self._left.pop(0), "more_body": bool(self._left)}
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message):
        self.sent.append(message)

    async def run(self) -> Call:
        headers = [(name.lower().encode(), value.encode()) for name, value in self.headers.items()]
        scope = {"type": "http", "method": self.method, "path": self.path, "headers": headers}
        await self.app(scope | {"client": self.client, "server": self.server}, self.receive, self.send)
        return self

    @property
    def status(self) -> int:
        return self.sent[0]["status"]

    @property
    def answered(self) -> dict[str, str]:
        return {name.decode(): value.decode() for name, value in self.sent[0]["headers"]}

    @property
    def json(self) -> Any:
        return json.loads(b"".join(message.get("body", b"") for message in self.sent))


@pytest.fixture
def call() -> Callable[..., Any]:
    return lambda app, **details: Call(app, **details).run()


@pytest.fixture
def new_call() -> Callable[..., Call]:
    return Call


@pytest.fixture
def echo():
    """Answers with the body that it got."""

    async def app(scope, receive, send):
        message = await receive()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"cache-control", b"max-age=60")]})
        await send({"type": "http.response.body", "body": message["body"]})

    return app
