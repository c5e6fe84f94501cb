"""Has Ctrl-C, SIGTERM and SIGHUP end what runs in order: sandboxes are gone before the process is."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Coroutine, Iterator
from types import FrameType
from typing import Any, Final, TypeVar

import typer

__all__ = ["interruptible", "run_interruptible"]

T = TypeVar("T")

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run_interruptible(work: Coroutine[Any, Any, T]) -> T:
    """Runs `work` to its end, or cancels it on a signal.

    Returns:
        What it returned.

    Raises:
        typer.Exit: A signal came; the status is 128 and its number, as shells report it.
        XAgentError: What `work` raised.
    """
    received: list[signal.Signals] = []

    async def supervised() -> T:
        loop, task = asyncio.get_running_loop(), asyncio.ensure_future(work)

        def cancel(number: signal.Signals) -> None:
            # Only the first counts: another would cut the cleaning up short.
            if not received:
                received.append(number)
                task.cancel()

        for number in _SIGNALS:
            loop.add_signal_handler(number, cancel, number)
        try:
            return await task
        finally:
            for number in _SIGNALS:
                loop.remove_signal_handler(number)

    try:
        return asyncio.run(supervised())
    # The second Ctrl-C may come when the loop's own handlers are gone.
    except (asyncio.CancelledError, KeyboardInterrupt):
        if not received:
            raise
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)  # all is cleaned up: let nothing change the status any more
        raise typer.Exit(128 + received[0]) from None


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Has SIGTERM and SIGHUP do what Ctrl-C does, around what is no coroutine and cleans up when that comes.

    Raises:
        typer.Exit: A signal came, and a `KeyboardInterrupt` with it; the status is as of `run_interruptible`.
    """
    received: list[int] = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        received.append(number)
        handler = signal.getsignal(signal.SIGINT)  # an event loop that runs has one of its own
        (handler if callable(handler) else signal.default_int_handler)(signal.SIGINT, frame)

    before = {number: signal.signal(number, interrupt) for number in _SIGNALS if number != signal.SIGINT}
    try:
        yield
    except KeyboardInterrupt:
        raise typer.Exit(128 + (received or [signal.SIGINT])[0]) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
