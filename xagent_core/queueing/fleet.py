"""Starts and drains worker processes on this machine, as many as a scaler wants."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from xagent_core.abc.queue import QueueStats, WorkerInfo
from xagent_core.errors import QueueError
from xagent_core.queueing.outages import Outages
from xagent_core.queueing.queue import TaskQueue
from xagent_core.queueing.scaling import Scaler, ScalingConfig

__all__ = ["Fleet"]

logger = logging.getLogger(__name__)

_SECONDS: Final = 0.5
_LONGEST_PAUSE: Final = 30.0
# How a worker ends that says itself why it cannot begin: wrong usage, and an error such as in its configuration.
_REFUSALS: Final = (2, 125)


class Fleet:
    """Worker processes between two bounds.

    Each has a pipe of ours as its standard input: when this process ends, however it ends, they drain.

    Args:
        queue: What they serve; it is open.
        command: Starts one worker, which drains on SIGTERM and at the end of its standard input.
        environment: The workers' environment.
        names: The named queues that they serve.
        config: The bounds.
    """

    def __init__(
        self,
        queue: TaskQueue,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        names: Sequence[str],
        config: ScalingConfig,
    ) -> None:
        self._queue = queue
        self._command = command
        self._environment = environment
        self._names = names
        self._config = config
        self._working: dict[int, asyncio.subprocess.Process] = {}
        self._draining: dict[int, asyncio.subprocess.Process] = {}
        self._pause = 0.0
        self._not_before = 0.0
        self._answered: float | None = None
        self._begun = False
        self._refusal: int | None = None
        self.draining = False
        """Whether it has been told to stop."""

    @property
    def workers(self) -> int:
        """How many processes work, those that drain left out."""
        return len(self._working)

    @property
    def well(self) -> bool:
        """Whether the least that there should be work, and the queue has answered lately."""
        answered = self._answered is not None and time.monotonic() - self._answered < self._queue.config.lease
        return answered and len(self._working) >= self._config.least

    async def run(self, stop: asyncio.Event, again: asyncio.Event) -> int:
        """Keeps the fleet at the scaler's number until `stop` is set, then drains it.

        A server that is away changes nothing: the workers wait for it too.

        Args:
            stop: Set when the fleet is to drain.
            again: Set when what its workers still run is to be stopped.

        Returns:
            An exit status: 0, or what the first workers ended with where all have refused to begin.
        """
        scaler, outages = Scaler(self._config), Outages("the scaler keeps its workers and")
        try:
            while not stop.is_set():
                self._bury()
                if self._refusal is not None and not self._working:
                    return self._refusal
                try:
                    await self._step(scaler, await self._queue.stats())
                    outages.worked(self)
                except QueueError as error:
                    outages.failed(self, error)
                    await self._start(self._config.least)
                try:
                    async with asyncio.timeout(_SECONDS):
                        await stop.wait()
                except TimeoutError:
                    continue
            return 0
        finally:
            await self._end(again)

    async def _step(self, scaler: Scaler, stats: QueueStats) -> None:
        first, self._answered = self._answered is None, time.monotonic()
        here = socket.gethostname()
        mine = {info.pid: info for info in stats.workers if info.host == here and info.pid in self._working}
        if mine:
            self._begun, self._refusal = True, None
        decision = scaler.decide(
            stats.of(self._names),
            workers=len(self._working),
            busy=sum(info.busy for info in mine.values()),
            now=time.monotonic(),
        )
        await self._start(decision.wanted)
        for _ in range(decision.workers - decision.wanted):
            self._drain(mine)
        if len(self._working) != decision.workers and not first:
            logger.info("from %d to %d workers: %s", decision.workers, decision.wanted, decision.reason)
            self._queue.plugins.observe("xagent_scaled", decision=decision)

    async def _start(self, wanted: int) -> None:
        """Starts what is missing, unless workers have just failed to start, or one has refused to."""
        if self._refusal is not None or time.monotonic() < self._not_before:
            return
        while len(self._working) < wanted:
            process = await asyncio.create_subprocess_exec(
                *self._command, env=self._environment, stdin=asyncio.subprocess.PIPE, start_new_session=True
            )
            self._working[process.pid] = process

    def _drain(self, infos: Mapping[int, WorkerInfo]) -> None:
        """Drains the worker with the least to do, and of equals the youngest."""
        pids = list(self._working)
        pid = min(pids, key=lambda pid: (infos[pid].busy if pid in infos else 0, -pids.index(pid)))
        self._draining[pid] = self._working.pop(pid)
        self._draining[pid].terminate()

    def _bury(self) -> None:
        """Takes processes that have ended off the lists; those that were not to end are replaced, ever more slowly."""
        for pid in [pid for pid, process in self._draining.items() if process.returncode is not None]:
            del self._draining[pid]
        dead = [pid for pid, process in self._working.items() if process.returncode is not None]
        for pid in dead:
            status = self._working.pop(pid).returncode
            self._pause = min(_LONGEST_PAUSE, self._pause * 2 or 0.5)
            self._not_before = time.monotonic() + self._pause
            logger.warning("worker process %d has ended with status %s", pid, status)
            if not self._begun and status in _REFUSALS:
                self._refusal = status
        if not dead and self._working and time.monotonic() > self._not_before + _LONGEST_PAUSE:
            self._pause = 0.0

    async def _end(self, again: asyncio.Event) -> None:
        """Drains all, and stops them when it is told so; returns when none is left."""
        self.draining = True
        left = [*self._working.values(), *self._draining.values()]
        _send(signal.SIGTERM, self._working.values())
        ended = asyncio.gather(*(process.wait() for process in left))
        told = asyncio.create_task(again.wait())
        either: tuple[asyncio.Future[Any], ...] = (ended, told)
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            told.cancel()
        if not ended.done():
            # Not the signal that they have had: two of a kind, close to each other, are one.
            _send(signal.SIGINT, left)
        await ended


def _send(number: signal.Signals, processes: Iterable[asyncio.subprocess.Process]) -> None:
    for process in processes:
        if process.returncode is None:
            process.send_signal(number)
