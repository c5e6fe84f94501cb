"""What a worker does again and again beside its jobs: signs of life, orders, messages that are due, lost jobs."""

from __future__ import annotations

import asyncio
import functools
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Final

from xagent_core.abc.queue import WorkerInfo
from xagent_core.errors import QueueError
from xagent_core.queueing.attempts import Attempts
from xagent_core.queueing.outages import Outages
from xagent_core.queueing.queue import TaskQueue

__all__ = ["Upkeep"]

logger = logging.getLogger(__name__)

_DUE_SECONDS: Final = 0.25
_AWAY_SECONDS: Final = 1.0


class Upkeep:
    """Keeps the books and a worker in step, in tasks of its own, from `begin` to `end`.

    Args:
        queue: Whose books they are.
        attempts: What runs here, and sees to lost jobs.
        outages: Waits for servers that are away.
        info: Gives the worker as others are to see it.
        draining: Says whether it takes no further jobs.
    """

    def __init__(
        self,
        queue: TaskQueue,
        attempts: Attempts,
        outages: Outages,
        *,
        info: Callable[[], WorkerInfo],
        draining: Callable[[], bool],
    ) -> None:
        self._queue = queue
        self._attempts = attempts
        self._outages = outages
        self._info = info
        self._draining = draining
        self._tasks: list[asyncio.Task[None]] = []
        self.last_sign: float | None = None
        """When the books last took a sign of life, by the monotonic clock; None before the first."""

    def begin(self) -> None:
        """Starts the tasks."""
        steps = (self._renew, self._listen(), self._send_due, self._sweep)
        self._tasks = [asyncio.create_task(self._keep(step)) for step in steps]

    async def end(self) -> None:
        """Ends them."""
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)

    async def _keep(self, step: Callable[[], Awaitable[float]]) -> None:
        """Repeats a step; it says how many seconds to wait before the next."""
        while True:
            try:
                pause = await step()
                self._outages.worked(step)
            except QueueError as error:
                self._outages.failed(step, error)
                pause = _AWAY_SECONDS
            # A bug of ours. All jobs of workers that are lost depend on there being a next round.
            except Exception:
                logger.exception("worker %s goes on after an unexpected error", self._info().id)
                pause = _AWAY_SECONDS
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                # A client may turn a cancellation into an error of its connection.
                raise asyncio.CancelledError
            await asyncio.sleep(pause)

    async def _renew(self) -> float:
        for why, job_id in await self._queue.books.renew(self._info(), self._attempts.claims):
            self._attempts.stop(job_id, "cancel" if why == "cancel" else "lost")
        self.last_sign = time.monotonic()
        return self._queue.config.lease / 4

    def _listen(self) -> Callable[[], Awaitable[float]]:
        worker, place = self._info().id, "0-0"

        async def listen() -> float:
            nonlocal place
            place, jobs = await self._queue.books.orders(worker, place, wait=2.0)
            for job_id in jobs:
                self._attempts.stop(job_id, "cancel")
            return 0.0

        return listen

    async def _send_due(self) -> float:
        for job_id, queue, again in await self._queue.books.due():
            # A job may wait for long behind others. Only when no message is left can its own have been lost.
            if not again or not await self._queue.carrier.waiting(queue):
                # The books have noted it as sent.
                send = functools.partial(self._queue.carrier.send, job_id, queue)
                await self._outages.insist(send, unless=self._draining)
        return _DUE_SECONDS

    async def _sweep(self) -> float:
        for claim in await self._queue.books.lost():
            await self._attempts.give_up(claim)
        await self._queue.books.forget_old()
        return self._queue.config.lease / 8
