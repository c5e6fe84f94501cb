"""Brings ids of jobs to workers by docket: one docket for each named queue."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from docket import Docket, Worker
from redis.exceptions import RedisError

from xagent_core import Carrier, ConfigError, Delivery, QueueUnavailableError
from xagent_core.queueing.store import Store, without_secrets
from xagent_queue_docket.places import Places
from xagent_queue_docket.quiet import hushed

__all__ = ["DocketCarrier"]

logger = logging.getLogger(__name__)

_TASK: Final = "xagent"
# docket renews what it holds four times in this time. The books have leases of their own; this only brings back
# messages that a worker had taken and not begun.
_REDELIVERY: Final = timedelta(seconds=8)
_SEND_SECONDS: Final = 10.0


class DocketCarrier(Carrier):
    """Carries by docket.

    Args:
        url: The Redis, or `memory://` for what only this process and event loop see.
        prefix: Before the names of the dockets.

    Raises:
        ConfigError: The URL is of another kind.
    """

    name = "docket"

    def __init__(self, url: str = "memory://", *, prefix: str = "xagent") -> None:
        if not url.startswith(("redis://", "rediss://", "unix://", "memory://")):
            raise ConfigError(
                "queue docket", f"{without_secrets(url)} is no URL that it knows", "Use redis:// or memory://."
            )
        self.shared = not url.startswith("memory:")
        self._url = url
        self._prefix = prefix
        self._dockets: dict[str, Docket] = {}
        self._opening = asyncio.Lock()
        self._stack = contextlib.AsyncExitStack()

    async def open(self) -> Store:
        """The books are kept in the same server."""
        if self.shared:
            return Store.connect(self._url)
        docket = await self._docket("default")
        client = await self._stack.enter_async_context(docket.redis())
        return Store(client=client, place=self._url, has_clock=False, owned=False)

    async def send(self, job_id: str, queue: str) -> None:
        """Adds a task; its key is new each time, since the books know what is a duplicate."""
        try:
            async with asyncio.timeout(_SEND_SECONDS):
                docket = await self._docket(queue)
                await docket.add(_TASK)(job_id)
        except (RedisError, OSError, TimeoutError) as error:
            raise QueueUnavailableError(
                f"queue {self.name}", f"{without_secrets(self._url)} does not answer: {error}"
            ) from error

    async def waiting(self, queue: str) -> int:
        """What is in the docket's stream and no worker has taken."""
        try:
            async with asyncio.timeout(_SEND_SECONDS):
                docket = await self._docket(queue)
                async with docket.redis() as redis:
                    held = await redis.xpending(docket.stream_key, docket.worker_group_name)
                    return max(0, await redis.xlen(docket.stream_key) - int(held["pending"]))
        except (RedisError, OSError, TimeoutError) as error:
            if "NOGROUP" in str(error):
                return 0
            raise QueueUnavailableError(
                f"queue {self.name}", f"{without_secrets(self._url)} does not answer: {error}"
            ) from error

    async def deliver(self, deliver: Delivery, *, queues: Sequence[str], slots: int) -> None:
        """Runs one docket worker for each named queue; together they have the slots."""
        places = Places(slots)
        with hushed():
            async with asyncio.TaskGroup() as group:
                for queue in queues:
                    group.create_task(self._work(deliver, queue, places))

    async def _work(self, deliver: Delivery, queue: str, places: Places) -> None:
        async def run(job_id: str) -> None:
            with places.taken(queue) as taken:
                if taken:
                    await deliver(job_id, queue)
                    return
            # It came while another queue's took the last slot. Where it fails, the outbox will send it.
            with contextlib.suppress(QueueUnavailableError):
                await self.send(job_id, queue)

        # A docket of its own: where two workers share a process, each must be called for what it has taken.
        async with self._made(queue) as docket:
            docket.register(run, names=[_TASK])
            async with Worker(
                docket,
                redelivery_timeout=_REDELIVERY,
                reconnection_delay=timedelta(seconds=1),
                schedule_automatic_tasks=False,
            ) as worker:
                places.add(queue, worker)
                running = asyncio.create_task(worker.run_forever())
                # When this is cancelled, the worker's context tells it to take no further messages, and waits for those
                # that it has. To cancel the worker itself would not do: with Redis away it may take that for an outage.
                await asyncio.wait([running])
            running.result()

    def _made(self, queue: str) -> Docket:
        return Docket(name=f"{self._prefix}-docket-{queue}", url=self._url, execution_ttl=timedelta(0))

    async def _docket(self, queue: str) -> Docket:
        async with self._opening:
            if queue not in self._dockets:
                docket = self._made(queue)
                docket.register(_nowhere, names=[_TASK])
                with hushed():
                    self._dockets[queue] = await self._stack.enter_async_context(docket)
            return self._dockets[queue]

    async def aclose(self) -> None:
        """Closes the dockets."""
        self._dockets.clear()
        await self._stack.aclose()


async def _nowhere(job_id: str) -> None:
    """Stands for the task where jobs are only submitted."""
    raise AssertionError(f"job {job_id} was delivered to a submitter")
