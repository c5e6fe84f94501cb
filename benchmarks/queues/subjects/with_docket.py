"""docket: its worker, and its client."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from docket import Docket, Worker

from benchmarks.queues.client import Client
from benchmarks.queues.work import LEASE, SLOTS, URL, noop, wait

__all__ = ["client", "worker"]


def worker() -> list[str]:
    """The command of one worker."""
    return [sys.executable, "-m", __name__]


class _Docket(Client):
    def __init__(self, docket: Docket) -> None:
        self._docket = docket

    async def noop(self, token: str = "") -> Any:
        return await self._docket.add(noop)(token)

    async def wait(self, seconds: float, token: str, *, note: bool = False) -> Any:
        return await self._docket.add(wait)(seconds, token, note=note)

    async def result(self, handle: Any) -> None:
        await handle.get_result(timeout=timedelta(seconds=60))

    async def cancel(self, handle: Any) -> None:
        await self._docket.cancel(handle.key)


def _docket() -> Docket:
    return Docket(name="bench", url=URL)


@asynccontextmanager
async def client() -> AsyncIterator[Client]:
    """A connection."""
    async with _docket() as docket:
        yield _Docket(docket)


async def _work() -> None:
    lease = timedelta(seconds=LEASE)
    async with _docket() as docket:
        docket.register(noop)
        docket.register(wait)
        async with Worker(docket, concurrency=SLOTS, redelivery_timeout=lease) as worker:
            await worker.run_forever()


if __name__ == "__main__":
    asyncio.run(_work())
