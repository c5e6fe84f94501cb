"""Keeps responses for hishel's cache in memory, within a limit, for callers in any thread and event loop."""

from __future__ import annotations

import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

from hishel import AsyncBaseStorage, Entry, Headers, Request, Response

__all__ = ["MemoryStorage"]

_OVERHEAD = 2048
"""What an entry costs beside its body: headers and the address, roughly."""


@dataclass(slots=True)
class _Kept:
    key: str
    entry: Entry
    body: bytes
    expires_at: float | None


class MemoryStorage(AsyncBaseStorage):
    """The entries that were used last; the others go when there are too many.

    Args:
        most: Bytes of all bodies together.
        most_each: Bytes of one body: a larger one is not kept.
    """

    def __init__(self, *, most: int, most_each: int) -> None:
        super().__init__(max_stream_size=most_each)
        self._most = most
        self._most_each = min(most, most_each)
        self._size = 0
        self._kept: OrderedDict[uuid.UUID, _Kept] = OrderedDict()
        self._lock = threading.Lock()

    async def create_entry(
        self, request: Request, response: Response, key: str, *, ttl: float | None = None, tti: float | None = None
    ) -> Entry:
        """An entry whose stream keeps the body once it was read to its end."""
        deadline, _ = self._limits(ttl, tti, time.time())
        entry = Entry(id=uuid.uuid4(), request=request, response=replace(response, stream=None))
        kept = _Kept(key=key, entry=entry, body=b"", expires_at=deadline)
        return replace(entry, response=replace(response, stream=self._keeping(kept, response.stream)))

    async def get_entries(self, key: str) -> list[Entry]:
        """The entries under a key, each with its whole body."""
        now = time.time()
        with self._lock:
            found = [kept for kept in self._kept.values() if kept.key == key]
            for kept in found:
                self._kept.move_to_end(kept.entry.id)
        return [
            replace(kept.entry, response=replace(kept.entry.response, stream=_once(kept.body)))
            for kept in found
            if kept.expires_at is None or kept.expires_at > now
        ]

    async def update_headers(self, id: uuid.UUID, headers: Headers) -> None:  # noqa: A002 - hishel's own name
        """Replaces the headers of an entry that is still there."""
        with self._lock:
            if (kept := self._kept.get(id)) is not None:
                kept.entry = replace(kept.entry, response=replace(kept.entry.response, headers=headers))

    async def remove_entry(self, id: uuid.UUID) -> None:  # noqa: A002 - hishel's own name
        """Removes an entry."""
        with self._lock:
            self._drop(id)

    async def _keeping(self, kept: _Kept, stream: object) -> AsyncIterator[bytes]:
        body: bytearray | None = bytearray()
        assert isinstance(stream, AsyncIterator)  # noqa: S101 - hishel's asynchronous side has no other
        async for chunk in stream:
            if body is not None:
                body += chunk
                if len(body) > self._most_each:
                    body = None
            yield chunk
        if body is not None:
            kept.body = bytes(body)
            with self._lock:
                self._kept[kept.entry.id] = kept
                self._size += len(kept.body) + _OVERHEAD
                while self._size > self._most:
                    self._drop(next(iter(self._kept)))

    def _drop(self, entry: uuid.UUID) -> None:
        if (kept := self._kept.pop(entry, None)) is not None:
            self._size -= len(kept.body) + _OVERHEAD


async def _once(body: bytes) -> AsyncIterator[bytes]:
    yield body
