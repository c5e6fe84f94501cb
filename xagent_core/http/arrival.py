"""Closes connections on which a request does not arrive in time; it is imported where uvicorn is there."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol

__all__ = ["TimelyProtocol"]


class TimelyProtocol(H11Protocol):
    """HTTP/1.1 whose callers cannot hold a connection by sending a request's header byte by byte.

    uvicorn's own time for idle connections begins with the first answer, and anew with every byte: this one runs
    from the opening, and from each answer on, until the whole header of the next request is there. What is left of a
    body after its answer does not extend it either.
    """

    _due: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        """Begins to wait for the first request."""
        super().connection_made(transport)
        self._wait()

    def on_response_complete(self) -> None:
        """Begins to wait for the next request."""
        super().on_response_complete()
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Waits no more."""
        if self._due is not None:
            self._due.cancel()
        super().connection_lost(exc)

    def _wait(self) -> None:
        if self._due is not None:
            self._due.cancel()
        self._due = self.loop.call_later(self.timeout_keep_alive, self._close_unless_asked)

    def _close_unless_asked(self) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()
