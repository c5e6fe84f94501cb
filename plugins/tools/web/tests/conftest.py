"""A real HTTP server, with routes that misbehave as tests want, and a web that may reach it."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from xagent_tools_web.settings import WebSettings
from xagent_tools_web.web import Web

CERTS = Path(__file__).with_name("certs")


@dataclass
class Asked:
    """A request as the server saw it."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    names: list[str]


Route = bytes | Callable[[Asked, asyncio.StreamWriter], Awaitable[None]]


def response(body: bytes | str = b"", *lines: str, status: str = "200 OK") -> bytes:
    """A response on the wire; `lines` are headers."""
    data = body.encode() if isinstance(body, str) else body
    head = [f"HTTP/1.1 {status}", *lines, f"Content-Length: {len(data)}", "Connection: close"]
    return "\r\n".join([*head, "", ""]).encode() + data


@dataclass
class Site:
    """A server in a thread of its own. `routes` has responses by path; what is not there is a 404."""

    tls: bool = False
    routes: dict[str, Route] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    names: list[str | None] = field(default_factory=list)
    port: int = 0

    @property
    def paths(self) -> list[str]:
        return [asked.target for asked in self.asked]

    def url(self, path: str = "/", host: str = "127.0.0.1") -> str:
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}{path}"

    async def serve(self, ready: threading.Event, stop: asyncio.Event) -> None:
        context = None
        if self.tls:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(CERTS / "server.pem")
            context.sni_callback = lambda _sock, name, _context: self.names.append(name)
        server = await asyncio.start_server(self._answer, "127.0.0.1", 0, ssl=context)
        self.port = server.sockets[0].getsockname()[1]
        ready.set()
        await stop.wait()
        server.close()
        running = asyncio.all_tasks() - {asyncio.current_task()}
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            method, target, _ = head[0].split(" ")
            pairs = [line.split(": ", 1) for line in head[1:] if line]
            headers = {name.lower(): value for name, value in pairs}
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            asked = Asked(method, target, headers, body, [name for name, _ in pairs])
            self.asked.append(asked)
            route = self.routes.get(target.partition("?")[0], response("nothing here", status="404 Not Found"))
            if isinstance(route, bytes):
                writer.write(route.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" if method == "HEAD" else route)
            else:
                await route(asked, writer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            pass  # The client has what it wants.
        finally:
            writer.close()


def serving(site: Site) -> Iterator[Site]:
    """Serves until the test ends."""
    ready = threading.Event()
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()
    thread = threading.Thread(target=lambda: loop.run_until_complete(site.serve(ready, stop)))
    thread.start()
    assert ready.wait(60)
    yield site
    loop.call_soon_threadsafe(stop.set)
    thread.join(60)
    loop.close()


@pytest.fixture
def site() -> Iterator[Site]:
    yield from serving(Site())


@pytest.fixture(scope="class")
def lasting_site() -> Iterator[Site]:
    """For the tests of a class; it has a page, and a SearXNG server that cannot find what is `lost`."""

    async def search(asked: Asked, writer: asyncio.StreamWriter) -> None:
        found = response('{"results": [{"title": "Otters", "url": "https://otters.example/"}]}')
        writer.write(response(status="500 Lost") if "lost" in asked.target else found)

    page = response("<title>Otters</title><p>They swim.</p>", "Content-Type: text/html")
    yield from serving(Site(routes={"/": page, "/search": search}))


@pytest.fixture
def other_site() -> Iterator[Site]:
    yield from serving(Site())


@pytest.fixture
def tls_site() -> Iterator[Site]:
    yield from serving(Site(tls=True))


@pytest.fixture
def reply() -> Callable[..., bytes]:
    return response


@pytest.fixture
def certs() -> Path:
    return CERTS


@pytest.fixture
def web_to() -> Callable[..., Web]:
    """Makes a web that reaches these sites on loopback, as an operator's configuration would allow it."""

    def make(*sites: Site, resolver: Any = None, **options: Any) -> Web:
        ports = [site.port for site in sites]
        options = {"allow_networks": ["127.0.0.1/32"], "ports": ports, "rate": 1000, "burst": 100} | options
        return Web(WebSettings.of(options), resolver=resolver)

    return make
