"""Answers an orchestrator's question whether this process is well: one HTTP endpoint, in a thread of its own."""

from __future__ import annotations

import json
import logging
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Self

from xagent_core.errors import ConfigError

__all__ = ["Answer", "HealthServer"]

logger = logging.getLogger(__name__)

_SECONDS: Final = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What a path answers.

    Attributes:
        status: The HTTP status.
        body: A JSON document, or text.
        content_type: What text is.
    """

    status: int
    body: Mapping[str, Any] | str
    content_type: str = "text/plain; charset=utf-8"


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, handler)

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002
        """Logs what the standard library would print; a caller that did not wait for its answer is no news."""
        level = logging.DEBUG if isinstance(sys.exc_info()[1], OSError) else logging.ERROR
        logger.log(level, "a request of %s could not be answered", client_address, exc_info=True)


class HealthServer:
    """Serves GET requests while its context lasts.

    Args:
        address: `HOST:PORT`, or a port alone for the loopback interface; IPv6 as in `[::1]:80`. Port 0 takes a free
            one.
        routes: What to call for each path. It is called in another thread, and must only read.

    Attributes:
        port: Where it listens, once it is entered.

    Raises:
        ConfigError: The address cannot be read.
    """

    def __init__(self, address: str, routes: Mapping[str, Callable[[], Answer]]) -> None:
        host, _, port = address.rpartition(":")
        if not port.isdigit() or int(port) > 65_535:
            raise ConfigError("health endpoint", f"{address!r} is no address", "Write HOST:PORT, or a port.")
        self._address = (host.strip("[]") or "127.0.0.1", int(port))
        self._routes = routes
        self._server: ThreadingHTTPServer | None = None
        self.port = 0

    def __enter__(self) -> Self:
        """Listens.

        Raises:
            ConfigError: The address is in use, or not of this machine.
        """
        routes = self._routes

        class Handler(BaseHTTPRequestHandler):
            timeout = _SECONDS

            def do_GET(self) -> None:
                route = routes.get(self.path.partition("?")[0])
                answer = route() if route else Answer(status=404, body={"paths": sorted(routes)})
                as_json = not isinstance(answer.body, str)
                content = (json.dumps(answer.body) + "\n" if as_json else str(answer.body)).encode()
                self.send_response(answer.status)
                self.send_header("Content-Type", "application/json" if as_json else answer.content_type)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_arguments: object) -> None:
                """Says nothing: an orchestrator asks every few seconds."""

        try:
            self._server = _Server(self._address, Handler)
        except OSError as error:
            host, port = self._address
            shown = f"[{host}]" if ":" in host else host
            raise ConfigError("health endpoint", f"{shown}:{port} cannot be used: {error.strerror}") from error
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, name="health", daemon=True).start()
        return self

    def __exit__(self, *_exc: object) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()
