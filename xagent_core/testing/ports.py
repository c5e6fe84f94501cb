"""A port of the loopback interface, for a server that cannot take a free one and tell which."""

from __future__ import annotations

import os
import socket
import weakref

__all__ = ["ReservedPort"]


class ReservedPort:
    """Keeps a port for a server that a test starts, also while that is not running.

    A port that was free a moment ago may be another's when the server binds it. This one stays bound, which keeps
    Linux from giving it to whoever asks for any port; a server that sets SO_REUSEADDR, as nearly all do, can listen on
    it all the same, as the socket here does not. Keep it as long as the server is to have the port.

    Attributes:
        number: The port's.
    """

    def __init__(self) -> None:
        bound = socket.socket()
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(("127.0.0.1", 0))
        self.number: int = bound.getsockname()[1]
        weakref.finalize(self, os.close, bound.detach())
