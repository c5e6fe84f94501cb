"""Runs a coroutine so that Ctrl-C, SIGTERM and SIGHUP end it in order: sandboxes are gone before the process is."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

import typer

__all__ = ["run_interruptible"]

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
