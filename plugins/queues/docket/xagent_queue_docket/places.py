"""Shares a worker's slots among its docket workers, of which each takes messages from one named queue."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from docket import Worker

__all__ = ["Places"]

# How often a worker whose slots are all taken looks for one that became free. A message that comes while one is free
# wakes it at once, so that an idle worker need not look often.
_POLL: Final = timedelta(milliseconds=50)
_POLL_LIVELY: Final = timedelta(milliseconds=5)
_LIVELY_SECONDS: Final = 0.1


class Places:
    """Lets docket workers take messages only as long as slots are free, whichever of them holds the others.

    Args:
        number: The slots, of all together.
    """

    def __init__(self, number: int) -> None:
        self._number = number
        self._workers: dict[str, Worker] = {}
        self._taken: Counter[str] = Counter()
        self._calm: asyncio.TimerHandle | None = None

    def add(self, queue: str, worker: Worker) -> None:
        """Has a queue's worker take part; it has not begun."""
        self._workers[queue] = worker
        worker.minimum_check_interval = _POLL
        self._allot()

    @contextlib.contextmanager
    def taken(self, queue: str) -> Iterator[bool]:
        """Holds a slot for a queue's message, where one is free.

        A read that had begun before the last slot was taken may still bring a message: then it yields False.
        """
        if self._taken.total() >= self._number:
            yield False
            return
        self._taken[queue] += 1
        self._allot()
        try:
            yield True
        finally:
            self._taken[queue] -= 1
            self._allot()
            self._look_often()

    def _allot(self) -> None:
        """Docket reads as many messages as its worker has room for: what it runs, and what is free."""
        free = self._number - self._taken.total()
        for queue, worker in self._workers.items():
            worker.concurrency = self._taken[queue] + free

    def _look_often(self) -> None:
        """Where a job has just ended, others may soon."""
        if self._calm is not None:
            self._calm.cancel()
        self._poll(_POLL_LIVELY)
        self._calm = asyncio.get_running_loop().call_later(_LIVELY_SECONDS, self._poll, _POLL)

    def _poll(self, interval: timedelta) -> None:
        for worker in self._workers.values():
            worker.minimum_check_interval = interval
