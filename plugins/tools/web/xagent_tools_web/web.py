"""Makes requests to the web, within the operator's limits: what all the tools here stand on."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Self

import httpx
from ssrfguard import BlockedAddressError, BlockedURLError, Resolver, SSRFGuardError

from xagent_core.abc.tool import ToolContext
from xagent_core.errors import ConfigError
from xagent_tools_web.body import ACCEPT_ENCODING, read_body
from xagent_tools_web.errors import UnreachedError, WebError, host_of, shown
from xagent_tools_web.memory import MemoryStorage
from xagent_tools_web.pace import Pace
from xagent_tools_web.reach import matches, reach_of
from xagent_tools_web.robots import MOST_BYTES, Robots
from xagent_tools_web.settings import WebSettings
from xagent_tools_web.transport import Way, open_way, unlogged

__all__ = ["Page", "Web"]

logger = logging.getLogger(__name__)

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_STATED: Final = frozenset({"accept", "accept-language", "user-agent"})
"""Headers that tell nothing that another site should not know, and that make no answer anybody's own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """What came back.

    Attributes:
        url: Where it came from at last.
        status_code: HTTP's own.
        headers: The response's.
        body: Unpacked.
        truncated: Whether there was more than the limit.
        redirects: The addresses that led elsewhere, in order.
        from_cache: Whether no server was asked.
        seconds: How long it took.
    """

    url: httpx.URL
    status_code: int
    headers: httpx.Headers
    body: bytes
    truncated: bool
    redirects: tuple[str, ...] = ()
    from_cache: bool = False
    seconds: float = 0.0


class Web:
    """The web as far as an operator lets tools go there. It may be used from any thread and event loop.

    Args:
        settings: How far that is.
        resolver: Instead of `socket.getaddrinfo`, for tests; what it says is judged all the same.

    Raises:
        ConfigError: The authorities' certificates cannot be read.
    """

    def __init__(self, settings: WebSettings, *, resolver: Resolver | None = None) -> None:
        self.settings = settings
        self._policy = reach_of(settings)
        self._resolver = resolver
        self._pace = Pace(rate=settings.rate, burst=settings.burst)
        self._robots = Robots(settings.user_agent.partition("/")[0])
        self._storage = MemoryStorage(most=settings.cache, most_each=settings.max_bytes) if settings.cache else None
        self._trust = _trust(settings)

    @classmethod
    def of(cls, context: ToolContext) -> Self:
        """The one that all tools of a `get_tools` call share.

        Raises:
            ConfigError: An option cannot be used.
        """
        web = context.shared.get(cls)
        if not isinstance(web, cls):
            web = context.shared[cls] = cls(WebSettings.of(context.options))
        return web

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> Page:
        """Makes a request, and follows where it leads.

        Args:
            method: GET, HEAD, for which robots.txt is asked first, or another one that the settings allow.
            url: Where to.
            headers: The caller's own. Another site that a redirect leads to does not get them.
            body: What to send.

        Returns:
            What came back, whatever its status.

        Raises:
            WebError: The request is not allowed, or nothing usable came back in time.
        """
        method = method.upper()
        name = f"{method} {shown(url)}"
        if method not in {"GET", "HEAD", *self.settings.methods}:
            raise WebError(
                name, f"the operator does not allow {method}", f"Allowed are {', '.join(self.settings.methods)}."
            )
        started = time.monotonic()
        try:
            async with asyncio.timeout(self.settings.timeout):
                with unlogged():
                    async with self._open() as way:
                        request = self._request(method, url, headers, body)
                        page = await self._follow(way, request, robots=self.settings.robots)
        except TimeoutError as error:
            raise WebError(
                name, f"took longer than {self.settings.timeout:g} seconds", "Try later, or another address."
            ) from error
        page = replace(page, seconds=time.monotonic() - started)
        logger.info("%s %s: %d, %d bytes", method, host_of(page.url), page.status_code, len(page.body))
        return page

    def _open(self) -> contextlib.AbstractAsyncContextManager[Way]:
        return open_way(
            self._policy,
            pace=self._pace,
            storage=self._storage,
            trust=self._trust,
            most_header_bytes=self.settings.max_header_bytes,
            resolver=self._resolver,
        )

    def _request(
        self, method: str, url: httpx.URL | str, headers: Mapping[str, str] | None, body: bytes | None
    ) -> httpx.Request:
        every = httpx.Headers({"Accept": "*/*", "User-Agent": self.settings.user_agent})
        every.update(headers)
        every["Accept-Encoding"] = ACCEPT_ENCODING
        try:
            request = httpx.Request(method, url, headers=every, content=body)
        except (httpx.InvalidURL, UnicodeError):
            # From nothing: the error has parts of the address in it.
            raise WebError(
                f"{method} {shown(url)}", "this is not a usable address", "Write it like https://example.com/page."
            ) from None
        request.extensions["timeout"] = httpx.Timeout(self.settings.timeout, connect=10.0).as_dict()
        return request

    async def _follow(
        self, way: Way, request: httpx.Request, *, robots: bool, most: int | None = None, redirected: bool = False
    ) -> Page:
        """Makes a request, and those that it leads to; each is judged as the first one is."""
        passed: list[httpx.URL] = []
        while True:
            redirected = redirected or bool(passed)
            try:
                self._judge(request.url)
                if robots and request.method in {"GET", "HEAD"}:
                    await self._ask_robots(way, request, redirected=redirected)
                page = await self._send(way, request, most or self.settings.max_bytes)
            except SSRFGuardError as error:
                raise _refused(request, error, redirected=redirected) from None
            target = page.headers.get("location")
            if page.status_code not in _REDIRECTS or not target:
                return replace(page, redirects=tuple(map(shown, passed)))
            if len(passed) >= self.settings.max_redirects:
                raise WebError(
                    _name(request), f"it leads on for more than {len(passed)} redirects", "Try where it leads to."
                )
            passed.append(request.url)
            request = self._redirected(request, page.status_code, target)

    def _judge(self, url: httpx.URL) -> None:
        """Judges a URL before anything is done with it, the cache included."""
        if url.userinfo:
            raise BlockedURLError("", "it has a user or a password, and what stands before the @ is not where it leads")
        # Only what decides, so that no message can have more.
        self._policy.check_url(str(url.copy_with(path="/", query=None, fragment=None) if url.raw_host else url))

    async def _ask_robots(self, way: Way, request: httpx.Request, *, redirected: bool) -> None:
        if matches(host_of(request.url), self.settings.robots_exempt):
            return

        async def fetch(url: httpx.URL) -> tuple[int, bytes]:
            first = self._request("GET", url, None, None)
            try:
                page = await self._follow(way, first, robots=False, most=MOST_BYTES, redirected=redirected)
            except WebError as error:
                if isinstance(error, UnreachedError) and error.component == _name(first):
                    # Nobody has closed the page: it cannot be reached either.
                    raise UnreachedError(_name(request), error.cause, error.fix) from error
                logger.info("robots.txt of %s: %s", host_of(url), error.cause)
                return 0, b""
            return page.status_code, page.body

        if not await self._robots.allows(request.url, fetch):
            raise WebError(
                _name(request),
                "the site's robots.txt closes this page to programs, or cannot be had",
                "Do not try again: look elsewhere. (The operator can add the host to robots_exempt.)",
            )

    async def _send(self, way: Way, request: httpx.Request, most: int) -> Page:
        own = set(request.headers.keys()) - _STATED - {"accept-encoding", "host"}
        # An answer to somebody's own headers is nobody else's; unsafe methods pass the cache to make it forget.
        transport = way.direct if own and request.method in {"GET", "HEAD"} else way.cached
        try:
            response = await transport.handle_async_request(request)
        except httpx.HTTPError as error:
            raise UnreachedError(_name(request), _what_failed(error), "Try again, or another address.") from error
        try:
            try:
                packed = response.headers.get("content-encoding", "")
                body, truncated = b"", False
                if request.method != "HEAD" and response.status_code not in _REDIRECTS:
                    chunks = response.aiter_raw()
                    body, truncated = await read_body(chunks, encoding=packed, most=most, request=_name(request))
            finally:
                await response.aclose()
        except httpx.HTTPError as error:
            raise WebError(_name(request), _what_failed(error), "Try again, or another address.") from error
        cached = response.extensions.get("caching") or {}
        return Page(
            url=request.url,
            status_code=response.status_code,
            headers=response.headers,
            body=body,
            truncated=truncated,
            from_cache=bool(cached.get("from_cache")) and not cached.get("revalidated"),
        )

    def _redirected(self, request: httpx.Request, status: int, target: str) -> httpx.Request:
        """The request that a redirect asks for (RFC 9110, section 15.4)."""
        try:
            url = request.url.join(target)
        except (httpx.InvalidURL, UnicodeError):
            raise WebError(_name(request), "it leads to an address that cannot be read", "Try another.") from None
        method, body = request.method, request.content or None
        if (status == 303 and method != "HEAD") or (status in {301, 302} and method == "POST"):
            method, body = "GET", None
        headers = {k: v for k, v in request.headers.items() if k not in {"host", "content-length"}}
        if body is None:
            headers = {k: v for k, v in headers.items() if not k.startswith("content-")}
        if _origin(url) != _origin(request.url):
            if body is not None:
                raise WebError(
                    _name(request),
                    f"it leads to another site, {shown(url)}, which would get what you send",
                    "Send it there yourself if that is meant.",
                )
            headers = {k: v for k, v in headers.items() if k in _STATED}
        return self._request(method, url, headers, body)


def _trust(settings: WebSettings) -> ssl.SSLContext:
    try:
        if settings.ca_file is not None:
            return ssl.create_default_context(cafile=str(settings.ca_file))
        return httpx.create_ssl_context(trust_env=False)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError("tools.web.ca_file", f"{settings.ca_file} cannot be used: {error}") from error


def _refused(request: httpx.Request, error: SSRFGuardError, *, redirected: bool) -> UnreachedError:
    """What a model is told: not where an internal name leads to."""
    reason = str(getattr(error, "reason", error))
    logger.warning("refused %s: %s", host_of(request.url) or "a request", reason)
    if isinstance(error, BlockedAddressError):
        reason = "its name leads to an address that is not of the public web"
    elif isinstance(error, BlockedURLError):
        reason = reason.partition(", which lists")[0]
    led = "a redirect led there, and " if redirected else ""
    return UnreachedError(_name(request), f"refused: {led}{reason}", "Only the public web can be reached.")


def _name(request: httpx.Request) -> str:
    return f"{request.method} {shown(request.url)}"


def _origin(url: httpx.URL) -> tuple[str, str, int]:
    return url.scheme, host_of(url), url.port or {"http": 80, "https": 443}.get(url.scheme, 0)


def _what_failed(error: httpx.HTTPError) -> str:
    if isinstance(error, httpx.ConnectTimeout):
        return "the server does not answer"
    if isinstance(error, httpx.ConnectError):
        text = str(error)
        if "CERTIFICATE_VERIFY_FAILED" in text:
            return "the server's certificate is not valid"
        known = "Name or service not known" in text or "No address" in text or "Temporary failure" in text
        return "there is no such host" if known else "no connection could be made"
    if isinstance(error, httpx.RemoteProtocolError):
        return "the server's answer is not HTTP, or its headers are too large"
    return f"the connection failed ({type(error).__name__})"
