"""Writes a running attempt's output into the books, as fast as they take it."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Final

from xagent_core.queueing.books import Books, Claim
from xagent_core.queueing.outages import Outages
from xagent_core.types import KIB, OutputEvent

__all__ = ["Recorder"]

_PIECE: Final = 64 * KIB
_KEPT: Final = 512 * KIB


class Recorder:
    """Takes output events; pieces that come while others are being written are written together.

    Args:
        books: Where they go.
        claim: The attempt.
        outages: Waits for their store.
        hurried: Says when it is not to be waited for, once the program has ended.
    """

    def __init__(self, books: Books, claim: Claim, outages: Outages, *, hurried: Callable[[], bool]) -> None:
        self._books = books
        self._outages = outages
        self._hurried = hurried
        self._claim = claim
        self._pending: list[OutputEvent] = []
        self._size = 0
        self._changed = asyncio.Condition()
        self._ended = False

    @contextlib.asynccontextmanager
    async def writing(self) -> AsyncIterator[None]:
        """Writes in the background; when it is left without an error, all is written."""
        task = asyncio.create_task(self._write())
        try:
            yield
            async with self._changed:
                self._ended = True
                self._changed.notify_all()
            await task
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def put(self, event: OutputEvent) -> None:
        """Takes a piece; waits, and so holds the program back, while the books are far behind."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._size < _KEPT)
            self._size += len(event.raw)
            last = self._pending[-1] if self._pending else None
            if last and (last.stream, last.phase) == (event.stream, event.phase) and len(last.raw) < _PIECE:
                self._pending[-1] = replace(last, data=last.data + event.data, raw=last.raw + event.raw)
            else:
                self._pending.append(event)
            self._changed.notify_all()

    async def _write(self) -> None:
        for number in itertools.count(1):
            async with self._changed:
                await self._changed.wait_for(lambda: self._pending or self._ended)
                pieces, self._pending, self._size = self._pending, [], 0
                self._changed.notify_all()
            if not pieces:
                return
            # Where the attempt does not hold the job any more, the next renewal of its lease ends it.
            await self._outages.insist(
                functools.partial(self._books.append, self._claim, number, pieces),
                unless=lambda: self._ended and self._hurried(),
            )
