"""arq: its worker's settings, and its client."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

from arq import create_pool
from arq.connections import RedisSettings
from arq.worker import func

from benchmarks.queues.client import Client
from benchmarks.queues.work import LEASE, SLOTS, URL, noop, wait

__all__ = ["Worker", "client", "worker"]


async def _noop(_context: dict[str, Any], token: str = "") -> None:
    await noop(token)


async def _wait(_context: dict[str, Any], seconds: float, token: str, note: bool = False) -> None:  # noqa: FBT001, FBT002
    await wait(seconds, token, note=note)


class Worker:
    """What `arq` reads. Its only lease is the longest time that a task may take, plus ten seconds."""

    functions: ClassVar[list[Any]] = [func(_noop, name="noop"), func(_wait, name="wait")]
    redis_settings = RedisSettings.from_dsn(URL)
    max_jobs = SLOTS
    job_timeout = LEASE
    allow_abort_jobs = True


def worker() -> list[str]:
    """The command of one worker."""
    return [str(Path(sys.executable).with_name("arq")), f"{__name__}.Worker"]


class _Arq(Client):
    def __init__(self, pool: Any) -> None:
        self._pool = pool

    async def noop(self, token: str = "") -> Any:
        return await self._pool.enqueue_job("noop", token)

    async def wait(self, seconds: float, token: str, *, note: bool = False) -> Any:
        return await self._pool.enqueue_job("wait", seconds, token, note)

    async def result(self, handle: Any) -> None:
        await handle.result(timeout=60, poll_delay=0.005)

    async def cancel(self, handle: Any) -> None:
        await handle.abort(timeout=30, poll_delay=0.005)


@asynccontextmanager
async def client() -> AsyncIterator[Client]:
    """A connection."""
    pool = await create_pool(RedisSettings.from_dsn(URL))
    try:
        yield _Arq(pool)
    finally:
        await pool.aclose()
