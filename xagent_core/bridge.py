"""Brings calls from any thread and event loop into the one that an engine belongs to, and blocking work out of it."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import contextvars
import threading
from collections.abc import Callable, Coroutine, Generator
from typing import Any, ParamSpec, TypeVar

from xagent_core.errors import XAgentError

__all__ = ["await_in", "background_loop", "in_thread", "wait_in"]

P = ParamSpec("P")
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


async def in_thread(function: Callable[P, T], /, *args: P.args, **options: P.kwargs) -> T:
    """Runs a blocking function in a thread of its own.

    Whatever an engine waits for must not stand in the queue of the event loop's own threads, as `asyncio.to_thread`
    does: all of those may be waiting for the engine, when synchronous calls are made there.

    Args:
        function: What to run. It goes on where the caller is cancelled.
        *args: Its arguments.
        **options: Its arguments by name.

    Returns:
        What it returns.

    Raises:
        Exception: What it raises.
    """
    outcome: concurrent.futures.Future[T] = concurrent.futures.Future()
    outcome.set_running_or_notify_cancel()
    context = contextvars.copy_context()

    def work() -> None:
        try:
            outcome.set_result(context.run(function, *args, **options))
        except BaseException as error:
            outcome.set_exception(error)

    threading.Thread(target=work, name=f"xagent-{getattr(function, '__name__', 'work')}").start()
    return await asyncio.wrap_future(outcome)


@contextlib.contextmanager
def background_loop() -> Generator[asyncio.AbstractEventLoop]:
    """An event loop that runs in a thread of its own, for programs that have none. What is left in it is cancelled."""
    started: concurrent.futures.Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = concurrent.futures.Future()

    async def main() -> None:
        stop = asyncio.Event()
        started.set_result((asyncio.get_running_loop(), stop))
        await stop.wait()

    thread = threading.Thread(target=lambda: asyncio.run(main()), name="xagent-engine", daemon=True)
    thread.start()
    loop, stop = started.result()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()


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
