"""Lets in who shows the token, and nobody whom a web page sent: the ASGI application around a server's own."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Final
from urllib.parse import urlsplit

from xagent_core.http.peer import is_own_process
from xagent_core.http.token import Token

__all__ = ["ASGIApp", "Guard", "Message", "Receive", "Scope", "Send", "header", "refuse"]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

LOOPBACK_NAMES: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_SAFE: Final = frozenset({"GET", "HEAD"})

# For every response that does not say otherwise: nothing is cached, nothing is framed, and what is no page stays none.
_HEADERS: Final = {
    b"cache-control": b"no-store",
    b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'",
    b"cross-origin-opener-policy": b"same-origin",
    b"cross-origin-resource-policy": b"same-origin",
    b"referrer-policy": b"no-referrer",
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
}


def header(scope: Scope, name: bytes) -> str | None:
    """A request's header, whose name is in lower case; None where it is missing, or there more than once."""
    found = [value for key, value in scope["headers"] if key == name]
    return found[0].decode("latin-1") if len(found) == 1 else None


async def refuse(send: Send, status: int, cause: str, fix: str = "", **headers: str) -> None:
    """Answers with an error, in the form that errors of xagent have in JSON.

    Args:
        send: Of the request.
        status: The HTTP status.
        cause: What is wrong.
        fix: What the caller can do.
        **headers: Further headers; `_` in their names stands for `-`.
    """
    error = {"type": "RequestRefused", "component": "server", "cause": cause, "fix": fix}
    body = json.dumps({"error": error}).encode()
    own = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    base = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": base + own})
    await send({"type": "http.response.body", "body": body})


class Guard:
    """Checks each request before the application sees it, and sets the headers that keep browsers from harm.

    1. `Host` must be one of `hosts`: a name that an attacker makes to resolve to this server (DNS rebinding) is none.
    2. `Origin` must be the server itself, and a request that changes something must not come from another site.
    3. The token must be shown; without a token, the caller must be a process of this user on this machine.

    Args:
        app: What is guarded.
        token: What callers show as `Authorization: Bearer ...`; None lets in this user's processes only.
        hosts: The names that the server is called by, besides those of the loopback interface; any where it is None.
        public: Paths that need no token. One that ends in `/` stands for all below it.
        admits: Whether a request may come in without the header, such as for its cookie.
        login: Where a browser without credentials is sent to.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        token: Token | None,
        hosts: Iterable[str] | None = (),
        public: Iterable[str] = (),
        admits: Callable[[Scope], bool] = lambda _scope: False,
        login: str = "",
    ) -> None:
        self._app = app
        self._token = token
        self._hosts = None if hosts is None else LOOPBACK_NAMES | {host.lower() for host in hosts}
        self._public = frozenset(public)
        self._admits = admits
        self._login = login

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuses the request, or passes it on."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return

        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                present = {name.lower() for name, _ in message["headers"]}
                added = [(name, value) for name, value in _HEADERS.items() if name not in present]
                message = {**message, "headers": [*message["headers"], *added]}
            await send(message)

        public = self._is_public(scope["path"])
        if not self._is_ours(header(scope, b"host")):
            fix = "Call the server by its own name, or name this one with --allowed-host."
            await refuse(send_safely, 421, "the Host header names another server", fix)
        elif not _is_same_origin(scope):
            await refuse(send_safely, 403, "the request comes from a page of another origin")
        elif public or self._is_admitted(scope):
            await self._app(scope, receive, send_safely)
        elif self._login and scope["method"] == "GET" and "text/html" in (header(scope, b"accept") or ""):
            await refuse(send_safely, 303, "a browser logs in first", location=self._login)
        elif self._token is not None:
            fix = "Send the header Authorization: Bearer TOKEN."
            await refuse(send_safely, 401, "the token is missing or wrong", fix, www_authenticate="Bearer")
        else:
            fix = "Start the server with a token, and show it."
            await refuse(send_safely, 403, "without a token, only the user who started the server may call it", fix)

    def _is_public(self, path: str) -> bool:
        return path in self._public or any(path.startswith(p) for p in self._public if p.endswith("/") and p != "/")

    def _is_ours(self, host: str | None) -> bool:
        if self._hosts is None:
            return True
        try:
            return urlsplit(f"//{host or ''}").hostname in self._hosts
        except ValueError:
            return False

    def _is_admitted(self, scope: Scope) -> bool:
        if self._token is None:
            return is_own_process(scope.get("client"), scope.get("server"))
        scheme, _, shown = (header(scope, b"authorization") or "").partition(" ")
        return (scheme.lower() == "bearer" and self._token.matches(shown.strip())) or self._admits(scope)


def _is_same_origin(scope: Scope) -> bool:
    """Whether no page of another origin made the request; programs that are no browsers send neither header."""
    origins = [value for name, value in scope["headers"] if name == b"origin"]
    if origins:
        host = (header(scope, b"host") or "").lower()
        # An origin is a scheme, "://" and what the Host header has; nothing else in it needs to be understood.
        return len(origins) == 1 and host != "" and origins[0].decode("latin-1").lower().partition("://")[2] == host
    site = header(scope, b"sec-fetch-site")
    return scope["method"] in _SAFE or site in (None, "same-origin", "none")
