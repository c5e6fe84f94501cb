"""Opens an HTTP server, and closes it in order: first the door, then what runs, within a time of grace."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from xagent_core.errors import BackendUnavailableError, ConfigError
from xagent_core.http.peer import is_loopback
from xagent_core.http.stacks import StacksOnly

if TYPE_CHECKING:
    from xagent_core.http.guard import ASGIApp

__all__ = ["Door", "open_door", "serve"]


@dataclass(frozen=True, kw_only=True)
class Door:
    """A socket that listens.

    Attributes:
        socket: The socket.
        host: The name that was asked for.
        port: The port, also where the system chose it.
        certificate: For TLS; None for plain HTTP.
        key: The certificate's key; None where it is in the same file.
    """

    socket: socket.socket
    host: str
    port: int
    certificate: Path | None = None
    key: Path | None = None

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach it."""
        return is_loopback(self.socket.getsockname()[0])

    @property
    def url(self) -> str:
        """What to type into a browser on this machine."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104 - any address is not one
        return f"http{'s' if self.certificate else ''}://{f'[{host}]' if ':' in host else host}:{self.port}/"


def open_door(host: str, port: int, *, certificate: Path | None = None, key: Path | None = None) -> Door:
    """Listens.

    Args:
        host: An address, or a name of this machine.
        port: 0 lets the system choose.
        certificate: A PEM file for TLS.
        key: Its key.

    Returns:
        The door; whoever opens it closes its socket.

    Raises:
        ConfigError: The address cannot be listened on.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = found[0]
        # Never both protocols at once: what is open is what was asked for.
        listening = socket.create_server(address[:2], family=family, backlog=512)
    except (OSError, UnicodeError) as error:
        unknown = isinstance(error, UnicodeError | socket.gaierror) or error.errno == errno.EADDRNOTAVAIL
        fix = "Choose an address of this machine as --host." if unknown else "Choose another --port."
        raise ConfigError("server", f"{host}:{port} cannot be listened on: {error}", fix) from error
    return Door(socket=listening, host=host, port=listening.getsockname()[1], certificate=certificate, key=key)


async def serve(
    app: ASGIApp,
    door: Door,
    *,
    grace: float,
    idle: int = 15,
    opened: Callable[[], None] = lambda: None,
    closing: Callable[[], None] = lambda: None,
) -> None:
    """Serves until it is cancelled, which ends it in order: the door is closed, and what runs may end, or is cancelled.

    What the application raises is logged without its message, which may quote what a caller sent.

    Args:
        app: Gets no lifespan events.
        door: Its socket is closed at the end.
        grace: Seconds that requests have to end by themselves before they are cancelled.
        idle: Seconds that a connection may be open before the whole header of its next request is there.
        opened: Called when requests are taken.
        closing: Called when no more are taken, to end what would otherwise never end by itself.

    Raises:
        ConfigError: The certificate cannot be used.
        BackendUnavailableError: uvicorn is not installed.
    """
    try:
        import uvicorn

        from xagent_core.http.arrival import TimelyProtocol
    except ImportError as error:
        raise BackendUnavailableError(
            "server", "uvicorn is not installed", "pip install 'xagent-core[http]'"
        ) from error

    config = uvicorn.Config(
        app,
        http=TimelyProtocol,
        lifespan="off",
        proxy_headers=False,  # who calls is what the socket says, which nobody can forge
        server_header=False,
        log_config=None,
        access_log=False,
        ws="none",
        timeout_keep_alive=idle,
        timeout_graceful_shutdown=max(int(grace), 1),
        ssl_certfile=door.certificate,
        ssl_keyfile=door.key,
    )
    try:
        config.load()
    except OSError as error:
        raise ConfigError("server", f"the certificate cannot be used: {error}") from error
    log, stacks = logging.getLogger("uvicorn.error"), StacksOnly()
    log.addFilter(stacks)
    opened()
    server = uvicorn.Server(config)
    # Signals are for whoever runs this: two that listen to them would end it twice.
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign, assignment]
    serving = asyncio.create_task(server.serve(sockets=[door.socket]))
    try:
        await asyncio.shield(serving)
    except asyncio.CancelledError:
        server.should_exit = True
        closing()
        await asyncio.wait([serving])
        raise
    finally:
        log.removeFilter(stacks)
