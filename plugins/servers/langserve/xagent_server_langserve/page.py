"""Serves the web page: a handful of files that are read once, so that no path of a request ever meets the disk."""

from __future__ import annotations

import hashlib
import secrets
from importlib.resources import files
from typing import Final

from fastapi import APIRouter, Request, Response

__all__ = ["page_routes"]

_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
# Scripts and styles come from here and nowhere else; the nonce is for the styles that the editor makes.
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'nonce-{nonce}'; img-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def page_routes() -> APIRouter:
    """The page at `/`, the one where a browser logs in, and what belongs to them."""
    router = APIRouter(include_in_schema=False)
    folder = files("xagent_server_langserve") / "static"
    found = {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}
    tags = {name: f'"{hashlib.sha256(content).hexdigest()[:32]}"' for name, content in found.items()}

    def page(name: str) -> Response:
        nonce = secrets.token_urlsafe(16)
        text = found[name].decode().replace("{{nonce}}", nonce)
        headers = {"Content-Security-Policy": _POLICY.format(nonce=nonce)}
        return Response(text, media_type="text/html", headers=headers)

    @router.head("/")
    @router.get("/")
    async def index() -> Response:
        return page("index.html")

    @router.head("/login")
    @router.get("/login")
    async def login() -> Response:
        return page("login.html")

    @router.head("/static/{name}")
    @router.get("/static/{name}")
    async def static(name: str, request: Request) -> Response:
        kind = _TYPES.get(name[name.rfind(".") :])
        if kind is None or name not in found:
            return Response(status_code=404)
        headers = {"Cache-Control": "no-cache", "ETag": tags[name]}
        if request.headers.get("if-none-match") == tags[name]:
            return Response(status_code=304, headers=headers)
        return Response(found[name], media_type=kind, headers=headers)

    return router
