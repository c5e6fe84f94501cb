"""Gives a worker's slots to the most urgent of those who wait."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
from collections.abc import AsyncIterator

__all__ = ["Slots"]


class Slots:
    """So many places; a free one goes to the lowest urgency number, and among equals to who came first.

    Args:
        number: How many there are.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.busy = 0
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    @contextlib.asynccontextmanager
    async def taken(self, urgency: int) -> AsyncIterator[None]:
        """Holds a place for as long as the context lasts."""
        if self.busy < self.number:
            self.busy += 1
        else:
            place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            heapq.heappush(self._waiting, (urgency, next(self._order), place))
            try:
                await place
            except asyncio.CancelledError:
                if place.done() and not place.cancelled():
                    self._free()
                raise
        try:
            yield
        finally:
            self._free()

    def _free(self) -> None:
        while self._waiting:
            _, _, place = heapq.heappop(self._waiting)
            if not place.done():
                place.set_result(None)  # the place passes on, and stays busy
                return
        self.busy -= 1
