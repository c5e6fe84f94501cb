"""Waits for a server that is away, and says once that it is, and once that it is back, however many ask it."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from xagent_core.errors import QueueError, QueueUnavailableError

__all__ = ["Outages", "demote", "patiently"]

logger = logging.getLogger(__name__)

T = TypeVar("T")

_LONGEST_PAUSE: Final = 1.0


class Outages:
    """What one process sees of the servers that it needs.

    Each of those who ask reports how it went: a server is away from the first failure on, until all who have failed
    with it have succeeded again. What comes in between is logged for debugging only.

    Args:
        who: Begins each message.
    """

    def __init__(self, who: str) -> None:
        self._who = who
        self._since: dict[str, float] = {}
        self._failed: dict[object, str] = {}

    def failed(self, asker: object, error: QueueError) -> None:
        """Notes that a call has failed; its server is the error's component."""
        server = error.component
        self._failed[asker] = server
        level = logging.DEBUG if server in self._since else logging.WARNING
        self._since.setdefault(server, time.monotonic())
        logger.log(level, "%s waits: %s", self._who, error)

    def worked(self, asker: object) -> None:
        """Notes that a call has succeeded."""
        server = self._failed.pop(asker, None)
        if server is not None and server not in self._failed.values():
            seconds = time.monotonic() - self._since.pop(server)
            logger.warning("%s goes on: %s is back after %.1f s", self._who, server, seconds)

    async def insist(self, call: Callable[[], Awaitable[T]], *, unless: Callable[[], bool]) -> T:
        """Calls until the server takes it: what has happened cannot be left out of the books.

        Args:
            call: What to call.
            unless: Says when to stop calling.

        Raises:
            QueueError: The last call's, once that is said.
        """
        asker, pause = object(), 0.1
        try:
            while True:
                try:
                    answer = await call()
                except QueueError as error:
                    self.failed(asker, error)
                    if unless():
                        raise
                    await asyncio.sleep(pause)
                    pause = min(pause * 2, _LONGEST_PAUSE)
                else:
                    self.worked(asker)
                    return answer
        finally:
            if (server := self._failed.pop(asker, None)) is not None and server not in self._failed.values():
                del self._since[server]  # it gave up, and nobody else waits


def demote(record: logging.LogRecord) -> bool:
    """Makes a record a matter of debugging: what an engine repeats of an outage that was told of.

    Args:
        record: In a filter of its logger.

    Returns:
        Whether it is to be written all the same.
    """
    record.levelno, record.levelname = logging.DEBUG, "DEBUG"
    return logging.getLogger(record.name).isEnabledFor(logging.DEBUG)


async def patiently(call: Callable[[], Awaitable[T]], patience: float) -> T:
    """Calls again while the server is away.

    Args:
        call: What to call.
        patience: For how many seconds.

    Raises:
        QueueUnavailableError: The last call's.
    """
    deadline = time.monotonic() + patience
    pause = 0.1
    while True:
        try:
            return await call()
        except QueueUnavailableError:
            left = deadline - time.monotonic()
            if left <= 0:
                raise
            await asyncio.sleep(min(left, pause * random.uniform(0.5, 1)))  # noqa: S311 - spreads load
            pause = min(pause * 2, 2.0)
