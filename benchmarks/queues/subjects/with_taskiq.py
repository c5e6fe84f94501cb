"""taskiq, with the streams of taskiq-redis: its broker, and its client."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

from benchmarks.queues import work
from benchmarks.queues.client import CannotCancelError, Client

__all__ = ["broker", "client", "worker"]

broker: Any = RedisStreamBroker(
    work.URL, idle_timeout=work.LEASE * 1000, unacknowledged_lock_timeout=work.LEASE
).with_result_backend(RedisAsyncResultBackend(work.URL, result_ex_time=3600))
_noop = broker.register_task(work.noop, task_name="noop")
_wait = broker.register_task(work.wait, task_name="wait")


def worker() -> list[str]:
    """The command of one worker."""
    program = str(Path(sys.executable).with_name("taskiq"))
    options = ("--workers", "1", "--max-async-tasks", str(work.SLOTS), "--log-level", "WARNING")
    return [program, "worker", f"{__name__}:broker", *options]


class _Taskiq(Client):
    async def noop(self, token: str = "") -> Any:
        return await _noop.kiq(token)

    async def wait(self, seconds: float, token: str, *, note: bool = False) -> Any:
        return await _wait.kiq(seconds, token, note=note)

    async def result(self, handle: Any) -> None:
        await handle.wait_result(check_interval=0.005, timeout=60)

    async def cancel(self, handle: Any) -> None:  # noqa: ARG002
        raise CannotCancelError


@asynccontextmanager
async def client() -> AsyncIterator[Client]:
    """A connection."""
    await broker.startup()
    try:
        yield _Taskiq()
    finally:
        await broker.shutdown()
