"""A worker: takes jobs from a queue as it has slots for them, until it is told to drain."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from xagent_core.abc.queue import WorkerInfo
from xagent_core.engine import Engine
from xagent_core.errors import ConfigError, QueueError
from xagent_core.queueing.attempts import Attempts
from xagent_core.queueing.books import Claim
from xagent_core.queueing.outages import Outages
from xagent_core.queueing.queue import TaskQueue
from xagent_core.queueing.slots import Slots
from xagent_core.queueing.upkeep import Upkeep
from xagent_core.queueing.worker_tools import WorkerTools
from xagent_core.workspace import Workspace

__all__ = ["Worker"]

logger = logging.getLogger(__name__)


class Worker:
    """Runs a queue's jobs, so many at once.

    Either as an async context manager beside other work, or with `run` until `drain` is called.

    Args:
        queue: Where the jobs come from; it is open.
        engine: What runs them; it is open.
        slots: Jobs at once.
        queues: The named queues that it serves, the most urgent first.
        name: Names it in the books; by default by host and process.
        workspace: The folder that all tool calls here share; without one, tools that need files are refused.

    Raises:
        ConfigError: There is no slot, or no queue.
        InvalidRequestError: The folder cannot be used.
    """

    def __init__(
        self,
        queue: TaskQueue,
        engine: Engine,
        *,
        slots: int = 4,
        queues: Sequence[str] = ("default",),
        name: str | None = None,
        workspace: str | Path | Workspace | None = None,
    ) -> None:
        if slots < 1 or not queues:
            raise ConfigError("worker", "it needs at least one slot, and one named queue")
        self.queue = queue
        self.engine = engine
        self.name = name or f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
        self._queues = tuple(dict.fromkeys(queues))
        self._slots = Slots(slots)
        self._started = time.time()
        self._draining = asyncio.Event()
        self._stopping = False
        self._delivering: asyncio.Task[None] | None = None
        self._outages = Outages(f"worker {self.name}")
        tools = WorkerTools(engine, workspace)
        self._attempts = Attempts(queue, engine, tools, worker=self.name, outages=self._outages, hurried=self._hurried)
        self._upkeep = Upkeep(
            queue, self._attempts, self._outages, info=lambda: self.info, draining=self._draining.is_set
        )

    @property
    def info(self) -> WorkerInfo:
        """The worker as others see it."""
        return WorkerInfo(
            id=self.name,
            host=socket.gethostname(),
            pid=os.getpid(),
            queues=self._queues,
            slots=self._slots.number,
            busy=len(self._attempts.claims),
            backend=self.engine.backend.name,
            draining=self._draining.is_set(),
            started=self._started,
        )

    @property
    def last_sign(self) -> float | None:
        """When the books last took a sign of life, by the monotonic clock; None before the first."""
        return self._upkeep.last_sign

    async def __aenter__(self) -> Self:
        """Begins to take jobs. A server that is away is waited for."""
        carrier, slots = self.queue.carrier, self._slots.number
        self._delivering = asyncio.create_task(carrier.deliver(self._deliver, queues=self._queues, slots=slots))
        self._delivering.add_done_callback(self._delivered)
        self._upkeep.begin()
        self.queue.plugins.observe("xagent_worker_started", worker=self.info)
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.drain()

    def _delivered(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("worker %s takes no more jobs: its carrier has failed", self.name, exc_info=error)

    async def run(self) -> None:
        """Works until `drain` was called elsewhere and all is done.

        Raises:
            Exception: The carrier failed for good.
        """
        async with self:
            if self._delivering is not None:
                draining = asyncio.create_task(self._draining.wait())
                try:
                    await asyncio.wait([self._delivering, draining], return_when=asyncio.FIRST_COMPLETED)
                finally:
                    draining.cancel()

    async def drain(self, seconds: float | None = None) -> None:
        """Takes no further jobs, lets those that run end, and closes. May be called again.

        Args:
            seconds: How long they may take; what still runs then is stopped, and tried again elsewhere if it may be.
        """
        self._draining.set()
        delivering, self._delivering = self._delivering, None
        if delivering is None:
            return
        delivering.cancel()
        _, late = await asyncio.wait([delivering], timeout=seconds)
        if late:
            self.stop()
            await asyncio.wait([delivering])
        await self._upkeep.end()
        info = self.info
        with contextlib.suppress(QueueError):  # the server is away: the entry expires
            await self.queue.books.forget_worker(self.name)
        self.queue.plugins.observe("xagent_worker_stopped", worker=info)
        if not delivering.cancelled() and (error := delivering.exception()) is not None:
            raise error

    def stop(self) -> None:
        """Stops the jobs that run now, and waits no more for a server that is away."""
        self._stopping = True
        self._attempts.stop_all()

    def _hurried(self) -> bool:
        """Whether a server that is away is not worth waiting for any more.

        That is when this worker is stopped; or it drains, and has shown no sign of life for so long that others will
        be given its jobs as soon as the server is back.
        """
        away = time.monotonic() - (self.last_sign or 0.0)
        return self._stopping or (self._draining.is_set() and away > 2 * self.queue.config.lease)

    async def _deliver(self, job_id: str, queue: str) -> None:
        """Runs the job of a message, unless the message is late."""
        urgency = self._queues.index(queue) if queue in self._queues else len(self._queues)
        async with self._slots.taken(urgency):
            if self._draining.is_set():
                await self._pass_on(job_id, queue)
                return
            claim = await self._claimed(job_id, self._queues[:urgency])
            if claim is None:
                return
            attempt = self._attempts.attend(claim, stopped=self._stopping and self._draining.is_set())
            if claim.job.id == job_id:
                await attempt
            else:
                await asyncio.gather(attempt, self._pass_on(job_id, queue))

    async def _pass_on(self, job_id: str, queue: str) -> None:
        with contextlib.suppress(QueueError):  # the outbox will send it
            await self.queue.carrier.send(job_id, queue)

    async def _claimed(self, job_id: str, urgent: Sequence[str]) -> Claim | None:
        """Begins an attempt. Where no answer came it asks again, since the job may be this attempt's already."""
        token = secrets.token_hex(8)
        try:
            return await self._outages.insist(
                lambda: self.queue.books.claim(job_id, self.name, token, urgent=urgent), unless=self._draining.is_set
            )
        except QueueError:
            return None  # another worker will be given it
