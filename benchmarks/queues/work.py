"""The tasks that every queue runs, and the books in Redis that say what really happened."""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
from functools import cache
from typing import Any, Final

import redis
import redis.asyncio

__all__ = ["LEASE", "SLOTS", "URL", "Books", "noop", "noop_blocking", "wait", "wait_blocking"]

URL: Final = os.environ.get("BENCH_REDIS", "redis://127.0.0.1:6379/0")
LEASE: Final = int(os.environ.get("BENCH_LEASE", "15"))
"""Seconds after which a queue may take a silent worker for dead, where that can be set."""
SLOTS: Final = int(os.environ.get("BENCH_SLOTS", "32"))
"""Tasks that one worker runs at once, where they need not be processes."""


class Books:
    """What tasks write down themselves, whatever their queue believes.

    Args:
        client: A synchronous client of Redis.
    """

    def __init__(self, client: Any) -> None:
        self._client = client

    def entries(self, token: str, kind: str) -> list[dict[str, Any]]:
        """When, and in which process and session of processes, a task has `started`, `ended` or was `stopped`."""
        return [json.loads(line) for line in self._client.lrange(f"bench:{token}:{kind}", 0, -1)]

    def count(self, token: str) -> int:
        """How many tasks with this token have ended."""
        return int(self._client.get(f"bench:{token}:count") or 0)

    def clear(self) -> None:
        """Forgets everything, the queue's own keys included."""
        self._client.flushdb()


@cache
def _async_client(_loop: int) -> Any:
    return redis.asyncio.Redis.from_url(URL)


@cache
def _client(_thread: int) -> Any:
    return redis.Redis.from_url(URL)


def _entry() -> str:
    return json.dumps({"at": time.time(), "pid": os.getpid(), "session": os.getsid(0)})


async def noop(token: str = "") -> None:
    """Does nothing; with a token, it is counted."""
    if token:
        await _async_client(id(asyncio.get_running_loop())).incr(f"bench:{token}:count")


async def wait(seconds: float, token: str, *, note: bool = False) -> None:
    """Waits, as a task does that has its work done elsewhere.

    Args:
        seconds: How long.
        token: What it is counted under.
        note: Whether its start and its end are noted one by one.
    """
    books = _async_client(id(asyncio.get_running_loop()))
    if note:
        await books.rpush(f"bench:{token}:started", _entry())
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        if note:
            await books.rpush(f"bench:{token}:stopped", _entry())
        raise
    if note:
        await books.rpush(f"bench:{token}:ended", _entry())
    await books.incr(f"bench:{token}:count")


def noop_blocking(token: str = "") -> None:
    """The same as `noop`, for a queue that cannot await."""
    if token:
        _client(threading.get_ident()).incr(f"bench:{token}:count")


def wait_blocking(seconds: float, token: str, *, note: bool = False) -> None:
    """The same as `wait`, for a queue that cannot await."""
    books = _client(threading.get_ident())
    if note:
        books.rpush(f"bench:{token}:started", _entry())
    time.sleep(seconds)
    if note:
        books.rpush(f"bench:{token}:ended", _entry())
    books.incr(f"bench:{token}:count")
