"""Brings calls from any thread and event loop into the one event loop that an engine belongs to."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Coroutine
from typing import Any, TypeVar

from xagent_core.errors import XAgentError

__all__ = ["await_in", "wait_in"]

T = TypeVar("T")


def wait_in(loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine in an event loop of another thread, and waits for it.

    Context variables go with it. An interrupt of the waiting thread (Ctrl-C) cancels it.

    Args:
        loop: Where it is to run.
        coroutine: It is closed where it cannot run.

    Returns:
        What it returns.

    Raises:
        XAgentError: This thread runs that very loop, which would wait for itself for ever; or the loop has ended.
        Exception: What the coroutine raises.
    """
    if _running_loop() is loop:
        coroutine.close()
        raise XAgentError(
            "engine",
            "a synchronous call was made in the event loop that the engine belongs to, which would wait for itself",
            "Await the asynchronous form there (ainvoke), or make the call in a thread (asyncio.to_thread).",
        )
    future = _submit(loop, coroutine)
    try:
        return future.result()
    except concurrent.futures.CancelledError as error:
        raise XAgentError(
            "engine", "its event loop ended during the call", "Keep it open until all are done."
        ) from error
    except BaseException:
        future.cancel()
        raise


async def await_in(loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, T]) -> T:
    """Awaits a coroutine that belongs to an event loop, which may be that of another thread.

    Context variables go with it, and so does a cancellation.

    Args:
        loop: Where it is to run.
        coroutine: It is closed where it cannot run.

    Returns:
        What it returns.

    Raises:
        XAgentError: The loop has ended.
        Exception: What the coroutine raises.
    """
    if asyncio.get_running_loop() is loop:
        return await coroutine
    return await asyncio.wrap_future(_submit(loop, coroutine))


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _submit(loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
    try:
        return asyncio.run_coroutine_threadsafe(coroutine, loop)
    except RuntimeError as error:
        coroutine.close()
        raise XAgentError("engine", "its event loop has ended", "Call tools while the engine is open.") from error
