"""Celery: its application, and its client. `BENCH_VARIANT` says which kind of pool, and when it acknowledges."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from celery import Celery

from benchmarks.queues import work
from benchmarks.queues.client import CannotCancelError, Client

__all__ = ["app", "client", "worker"]

_POOL, _, _ACKS = os.environ.get("BENCH_VARIANT", "prefork-early").partition("-")
_LATE: Final = _ACKS == "late"

app: Any = Celery("bench", broker=work.URL, backend=work.URL)
app.conf.update(
    task_acks_late=_LATE,
    task_reject_on_worker_lost=_LATE,
    worker_prefetch_multiplier=1,
    broker_transport_options={"visibility_timeout": work.LEASE},
    broker_connection_retry_on_startup=True,
)
_noop = app.task(name="noop")(work.noop_blocking)
_wait = app.task(name="wait")(work.wait_blocking)


def worker() -> list[str]:
    """The command of one worker: a process for each slot would not fit, so prefork gets one for each core."""
    slots = os.cpu_count() or 1 if _POOL == "prefork" else work.SLOTS
    options = [
        "--pool",
        _POOL,
        "--concurrency",
        str(slots),
        "--loglevel",
        "ERROR",
        "--hostname",
        f"{os.urandom(4).hex()}@%h",
    ]
    return [sys.executable, "-m", "celery", "--app", __name__, "worker", *options]


class _CeleryClient(Client):
    async def noop(self, token: str = "") -> Any:
        return _noop.delay(token)

    async def wait(self, seconds: float, token: str, *, note: bool = False) -> Any:
        return _wait.delay(seconds, token, note=note)

    async def result(self, handle: Any) -> None:
        await asyncio.to_thread(handle.get, timeout=60)

    async def cancel(self, handle: Any) -> None:
        if _POOL != "prefork":
            raise CannotCancelError  # Its worker logs a NotImplementedError, and the task runs on.
        handle.revoke(terminate=True)


@asynccontextmanager
async def client() -> AsyncIterator[Client]:
    """A connection."""
    yield _CeleryClient()
