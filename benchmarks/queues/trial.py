"""One trial of one queue, run in that queue's own environment: prints what was measured as a line of JSON."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import redis

from benchmarks.queues.client import CannotCancelError, Client, Subject
from benchmarks.queues.work import LEASE, URL, Books

__all__ = ["TRIALS", "main"]

_AT_ONCE: Final = 32
_GIVE_UP: Final = 60.0


class Workers:
    """Two workers of a subject, each in a session of its own, so that all its processes can be killed together.

    Args:
        subject: Whose.
        number: How many.
    """

    def __init__(self, subject: Subject, number: int = 2) -> None:
        command = subject.worker()
        self._processes = [
            subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=sys.stderr)
            for _ in range(number)
        ]

    def kill(self, session: int) -> None:
        """Kills one worker with all its processes."""
        if session not in {process.pid for process in self._processes}:
            raise ValueError(f"{session} is none of the workers")
        os.killpg(session, signal.SIGKILL)

    def close(self) -> None:
        """Kills all of them."""
        for process in self._processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@contextlib.asynccontextmanager
async def _running(subject: Subject, books: Books) -> AsyncIterator[tuple[Client, Workers]]:
    """A client, and workers that have run their first tasks."""
    books.clear()
    workers = Workers(subject)
    try:
        async with subject.client() as client:
            await asyncio.sleep(2)  # taskiq's stream begins where its first worker comes to it.
            for _ in range(8):
                await client.result(await client.noop())
            yield client, workers
    finally:
        workers.close()
        books.clear()


async def latency(subject: Subject, books: Books, *, tasks: int = 40) -> dict[str, Any]:
    """Seconds from the call to its result, one task after another, at moments that no poll can be in step with."""
    samples = []
    async with _running(subject, books) as (client, _):
        for _ in range(tasks):
            await asyncio.sleep(random.uniform(0, 0.05))  # noqa: S311
            began = time.perf_counter()
            await client.result(await client.noop())
            samples.append(time.perf_counter() - began)
    return {"samples": samples}


async def noops(subject: Subject, books: Books, *, tasks: int = 500) -> dict[str, Any]:
    """No-op tasks a second, from the first submission to the last end."""
    return await _throughput(subject, books, lambda client: client.noop("many"), tasks)


async def waits(subject: Subject, books: Books, *, tasks: int = 300) -> dict[str, Any]:
    """Tasks of 100 ms a second, which an event loop can run side by side."""
    return await _throughput(subject, books, lambda client: client.wait(0.1, "many"), tasks)


async def _throughput(
    subject: Subject, books: Books, submit: Callable[[Client], Awaitable[Any]], tasks: int
) -> dict[str, Any]:
    async with _running(subject, books) as (client, _):
        began = time.perf_counter()
        for start in range(0, tasks, _AT_ONCE):
            await asyncio.gather(*(submit(client) for _ in range(start, min(start + _AT_ONCE, tasks))))
        submitted = time.perf_counter() - began
        await _until(lambda: books.count("many") >= tasks, _GIVE_UP, every=0.01)
        seconds, done = time.perf_counter() - began, books.count("many")
    return {"per_second": done / seconds, "submitted_per_second": tasks / submitted, "done": done, "of": tasks}


async def killed(subject: Subject, books: Books, *, seconds: float = 3, patience: float = 130) -> dict[str, Any]:
    """Whether, and when, a task is run again whose worker was killed; the other worker has nothing to do."""
    async with _running(subject, books) as (client, workers):
        await client.wait(seconds, "task", note=True)
        started = await _entry(books, "started")
        await asyncio.sleep(0.3)
        workers.kill(started["session"])
        at = time.time()
        by_itself = await _until(lambda: len(books.entries("task", "started")) > 1, patience, every=0.05)
        while len(books.entries("task", "started")) < 2 and time.time() - at < patience + 3 * LEASE:
            await client.noop()
            await asyncio.sleep(1)
        await asyncio.sleep(seconds + 1)
        starts = books.entries("task", "started")
        return {
            "again_after": starts[1]["at"] - at if len(starts) > 1 else None,
            "by_itself": by_itself,
            "starts": len(starts),
            "ends": len(books.entries("task", "ended")),
        }


async def outlasting(subject: Subject, books: Books, *, seconds: float = 110) -> dict[str, Any]:
    """How often a task runs that takes longer than its lease, while other tasks come and go."""
    async with _running(subject, books) as (client, _):
        await client.wait(seconds, "task", note=True)
        began = time.time()
        while time.time() - began < seconds + 20 and not books.entries("task", "stopped"):
            await client.noop()
            await asyncio.sleep(1)
        return {kind: len(books.entries("task", kind)) for kind in ("started", "ended", "stopped")}


async def cancelled(subject: Subject, books: Books, *, seconds: float = 15) -> dict[str, Any]:
    """How long a running task goes on after it was cancelled."""
    async with _running(subject, books) as (client, _):
        handle = await client.wait(seconds, "task", note=True)
        started = await _entry(books, "started")
        await asyncio.sleep(0.3)
        began = time.time()
        try:
            cancelling = asyncio.create_task(client.cancel(handle))
            while time.time() - began < seconds + 2:
                if books.entries("task", "stopped") or not _alive(started["pid"]):
                    stopped = time.time() - began
                    await cancelling
                    await asyncio.sleep(1)
                    return {"stopped_after": stopped, "process_survived": _alive(started["pid"])}
                if books.entries("task", "ended"):
                    return {"stopped_after": None}
                if cancelling.done():
                    cancelling.result()
                await asyncio.sleep(0.002)
        except CannotCancelError:
            return {"unsupported": True}
        return {"stopped_after": None}


TRIALS: Final = {trial.__name__: trial for trial in (latency, noops, waits, killed, outlasting, cancelled)}


async def _until(condition: Callable[[], bool], patience: float, *, every: float) -> bool:
    """Asks Redis again and again, since tasks write there whatever their queue says; whether it came true in time."""
    end = time.monotonic() + patience
    while not (true := condition()) and time.monotonic() < end:  # noqa: ASYNC110
        await asyncio.sleep(every)
    return true


async def _entry(books: Books, kind: str) -> dict[str, Any]:
    if not await _until(lambda: bool(books.entries("task", kind)), 20, every=0.01):
        raise TimeoutError(f"the task has not {kind} within 20 s")
    return books.entries("task", kind)[0]


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def main() -> None:
    """The command line: which queue, and which trial."""
    parser = argparse.ArgumentParser(prog="trial", description=__doc__)
    parser.add_argument("subject")
    parser.add_argument("trial", choices=list(TRIALS))
    options = parser.parse_args()
    subject: Any = importlib.import_module(f"benchmarks.queues.subjects.{options.subject}")
    trial: Callable[[Subject, Books], Awaitable[dict[str, Any]]] = TRIALS[options.trial]

    async def run() -> dict[str, Any]:
        return await trial(subject, Books(redis.Redis.from_url(URL)))

    print(json.dumps(asyncio.run(run())))  # noqa: T201


if __name__ == "__main__":
    main()
