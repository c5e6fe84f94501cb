"""Lets a browser in by a cookie, which it gets for the token: a browser cannot send the token's header by itself."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from http.cookies import CookieError, SimpleCookie
from typing import Final

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from xagent_core.http.guard import Scope, header
from xagent_core.http.token import Token

__all__ = ["Logins"]

_SECONDS: Final = 12 * 3600


class _Shown(BaseModel):
    token: str = Field(max_length=1000)


class Logins:
    """Cookies that say when they expire, signed with a key that this process keeps to itself.

    The cookie is not the token: what reads it can use this server until then, or until the server is restarted.

    Args:
        token: What is to be shown; None where nobody needs to log in.
        port: Of the server; browsers keep cookies for a host, whatever the port.
        secure: Whether the server speaks TLS.
    """

    def __init__(self, token: Token | None, *, port: int, secure: bool) -> None:
        self._token = token
        self._secure = secure
        self._name = f"xagent-{port}"
        self._key = secrets.token_bytes(32)

    def admits(self, scope: Scope) -> bool:
        """Whether a request has a cookie that is ours and has not expired."""
        try:
            cookies = SimpleCookie(header(scope, b"cookie") or "")
        except CookieError:
            return False
        morsel = cookies.get(self._name)
        expires, _, signature = (morsel.value if morsel else "").partition(".")
        if not expires.isascii() or not expires.isdecimal() or len(expires) > 12:
            return False
        return hmac.compare_digest(signature.encode(), self._sign(expires).encode()) and int(expires) > time.time()

    def _sign(self, expires: str) -> str:
        return hmac.new(self._key, expires.encode(), hashlib.sha256).hexdigest()

    def routes(self) -> APIRouter:
        """Logs in and out."""
        router = APIRouter()

        @router.post("/login", status_code=204)
        async def login(shown: _Shown, response: Response) -> None:
            if self._token is None or not self._token.matches(shown.token):
                response.status_code = 401
                return
            expires = str(int(time.time()) + _SECONDS)
            self._set(response, f"{expires}.{self._sign(expires)}", _SECONDS)

        @router.post("/logout", status_code=204)
        async def logout(response: Response) -> None:
            self._set(response, "", 0)

        return router

    def _set(self, response: Response, value: str, seconds: int) -> None:
        response.set_cookie(
            self._name, value, max_age=seconds, path="/", httponly=True, samesite="strict", secure=self._secure
        )
