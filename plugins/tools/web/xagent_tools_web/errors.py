"""What goes wrong on the web, told without secrets: a query, a password or a header is never in a message."""

from __future__ import annotations

import httpx

from xagent_core.errors import XAgentError

__all__ = ["UnreachedError", "WebError", "host_of", "shown"]


class WebError(XAgentError):
    """A request could not be made, or its answer could not be used; `component` says which request."""


class UnreachedError(WebError):
    """No server answered: the address is refused, or the connection failed."""


def host_of(url: httpx.URL) -> str:
    """The host as it goes over the wire; `URL.host` would read it as a person does, and fail where that cannot be."""
    return url.raw_host.decode("ascii")


def shown(url: httpx.URL | str) -> str:
    """A URL for messages and logs: scheme, host, port and path, without user, password, query and fragment."""
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, UnicodeError):
        return "the address"
    plain = parsed.copy_with(username="", password="", query=None, fragment=None) if parsed.raw_host else parsed
    text = str(plain) if plain.raw_host else f"{plain.scheme}:..." if plain.scheme else "the address"
    return text if len(text) <= 200 else f"{text[:200]}..."
