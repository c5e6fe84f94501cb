"""Keeps sandboxes standing by, hands each out once, and sees to it that none is left."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from xagent_core.abc.backend import Backend, Sandbox, SandboxSpec
from xagent_core.config import PoolConfig
from xagent_core.errors import PoolTimeoutError, XAgentError
from xagent_core.guest.health import is_alive

__all__ = ["Pool", "PoolStats"]

logger = logging.getLogger(__name__)

# A sandbox that was idle for less is handed out without asking it: the question costs a round trip.
_TRUSTED_SECONDS: Final = 5.0
_PING_SECONDS: Final = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class PoolStats:
    """A moment of the pool: counts of sandboxes, and of those handed out so far."""

    ready: int
    starting: int
    running: int
    waiting: int
    handed_out_ready: int
    handed_out_cold: int
    discarded: int


@dataclass(slots=True)
class _Shelf:
    """The sandboxes of one spec."""

    spec: SandboxSpec
    ready: deque[tuple[Sandbox, float]] = field(default_factory=deque)
    used: float = field(default_factory=time.monotonic)
    filling: int = 0


# What a caller is granted: a ready sandbox and since when it has been idle, or None for a place to start one in.
_Grant = tuple[Sandbox, float] | None


class Pool:
    """The sandboxes of one backend.

    Args:
        backend: Starts them.
        config: How many.
    """

    def __init__(self, backend: Backend, config: PoolConfig) -> None:
        self._backend = backend
        self._config = config
        self._shelves: dict[SandboxSpec, _Shelf] = {}
        self._waiters: deque[tuple[_Shelf, asyncio.Future[_Grant]]] = deque()
        self._places = config.most
        self._filling = asyncio.Semaphore(max(1, config.refills))
        self._tasks: set[asyncio.Task[Any]] = set()
        self._running = self._warm = self._cold = self._discarded = 0
        self._closed = False

    def stats(self) -> PoolStats:
        """How many there are of what."""
        return PoolStats(
            ready=sum(len(shelf.ready) for shelf in self._shelves.values()),
            starting=sum(shelf.filling for shelf in self._shelves.values()),
            running=self._running,
            waiting=len(self._waiters),
            handed_out_ready=self._warm,
            handed_out_cold=self._cold,
            discarded=self._discarded,
        )

    @asynccontextmanager
    async def sandbox(self, spec: SandboxSpec) -> AsyncIterator[Sandbox]:
        """A sandbox that has run nothing, for one job; it is destroyed in the background afterwards.

        Callers are served in the order in which they came.

        Raises:
            PoolTimeoutError: All places were taken for too long.
            BackendError: The backend could not start one.
        """
        shelf = self._shelf(spec)
        shelf.used = time.monotonic()
        sandbox = await self._acquire(shelf)
        self._running += 1
        try:
            yield sandbox
        finally:
            self._running -= 1
            self._discard(sandbox)
            self._refill(shelf)

    async def warm(self, spec: SandboxSpec) -> None:
        """Starts the configured number of sandboxes ahead and waits until they are ready.

        Raises:
            BackendError: The backend could not start one.
        """
        shelf = self._shelf(spec)
        shelf.used = time.monotonic()
        fills = [self._spawn(self._fill(shelf)) for _ in range(self._missing(shelf))]
        await asyncio.gather(*fills)

    def retire_idle(self) -> None:
        """Destroys the ready sandboxes of kinds that nobody has asked for lately."""
        now = time.monotonic()
        for spec, shelf in list(self._shelves.items()):
            if now - shelf.used > self._config.idle_seconds:
                while shelf.ready:
                    self._discard(shelf.ready.popleft()[0])
                if not shelf.filling:
                    del self._shelves[spec]

    async def aclose(self) -> None:
        """Destroys every sandbox, those that are just being started included, and waits for it."""
        self._closed = True
        for shelf in self._shelves.values():
            while shelf.ready:
                self._discard(shelf.ready.popleft()[0])
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _shelf(self, spec: SandboxSpec) -> _Shelf:
        return self._shelves.setdefault(spec, _Shelf(spec))

    async def _acquire(self, shelf: _Shelf) -> Sandbox:
        while True:
            granted = await self._granted(shelf)
            if granted is None:
                self._cold += 1
                return await self._start_now(shelf.spec)
            sandbox, since = granted
            if time.monotonic() - since < _TRUSTED_SECONDS or await self._answers(sandbox):
                self._warm += 1
                return sandbox

    async def _granted(self, shelf: _Shelf) -> _Grant:
        """Waits for its turn, and then for a ready sandbox or a place."""
        turn: asyncio.Future[_Grant] = asyncio.get_running_loop().create_future()
        self._waiters.append((shelf, turn))
        self._dispatch()
        try:
            async with asyncio.timeout(self._config.wait_seconds):
                return await turn
        except TimeoutError as error:
            raise PoolTimeoutError(
                self._backend.name,
                f"no sandbox became free within {self._config.wait_seconds:g} s ({self._config.most} in use)",
                "Run less at once, or raise pool.most.",
            ) from error
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._give_back(turn.result())
            else:
                self._waiters.remove((shelf, turn))
            raise

    def _give_back(self, grant: _Grant) -> None:
        if grant is None:
            self._free_place()
        else:
            self._discard(grant[0])

    def _dispatch(self) -> None:
        """Serves those who wait, the first come first."""
        while self._waiters:
            shelf, turn = self._waiters[0]
            if turn.done():
                self._waiters.popleft()
            elif shelf.ready:
                self._waiters.popleft()
                turn.set_result(shelf.ready.popleft())
            elif self._places > 0:
                self._waiters.popleft()
                self._places -= 1
                turn.set_result(None)
            else:
                self._evict()
                return

    def _evict(self) -> None:
        """Gives up the ready sandbox of the kind that was not used for longest; its place is free when it is gone."""
        shelves = [shelf for shelf in self._shelves.values() if shelf.ready]
        if shelves:
            self._discard(min(shelves, key=lambda shelf: shelf.used).ready.popleft()[0])

    def _free_place(self) -> None:
        self._places += 1
        self._dispatch()

    async def _answers(self, sandbox: Sandbox) -> bool:
        """Whether a sandbox is still alive; one that is not is discarded."""
        alive = False
        try:
            alive = await is_alive(sandbox, within=_PING_SECONDS)
        finally:
            if not alive:
                logger.info("sandbox %s did not live until it was needed", sandbox.id)
                self._discard(sandbox)
        return alive

    async def _start_now(self, spec: SandboxSpec) -> Sandbox:
        # The start goes on when the caller is cancelled: only so is it known what there is to destroy.
        start = self._spawn(self._start(spec))
        try:
            return await asyncio.shield(start)
        except asyncio.CancelledError:
            start.add_done_callback(self._discard_started)
            raise

    async def _start(self, spec: SandboxSpec) -> Sandbox:
        """Starts a sandbox in a place that the caller has taken."""
        try:
            return await self._backend.start(spec)
        except BaseException:
            self._free_place()
            raise

    def _discard_started(self, start: asyncio.Task[Sandbox]) -> None:
        if not start.cancelled() and start.exception() is None:
            self._discard(start.result())

    def _missing(self, shelf: _Shelf) -> int:
        return self._config.ready - len(shelf.ready) - shelf.filling

    def _refill(self, shelf: _Shelf) -> None:
        """Starts what is missing in the background; while callers wait for places, those come first."""
        if self._closed or self._waiters:
            return
        self._shelves.setdefault(shelf.spec, shelf)
        for _ in range(self._missing(shelf)):
            self._spawn(self._fill(shelf)).add_done_callback(_log_failure)

    async def _fill(self, shelf: _Shelf) -> None:
        shelf.filling += 1
        try:
            async with self._filling:
                if self._closed or self._places <= 0:
                    return
                self._places -= 1
                self._shelve(shelf, await self._start(shelf.spec))
        finally:
            shelf.filling -= 1

    def _shelve(self, shelf: _Shelf, sandbox: Sandbox) -> None:
        if self._closed:
            self._discard(sandbox)
            return
        shelf.ready.append((sandbox, time.monotonic()))
        self._dispatch()

    def _discard(self, sandbox: Sandbox) -> None:
        self._discarded += 1
        self._spawn(self._kill(sandbox))

    async def _kill(self, sandbox: Sandbox) -> None:
        try:
            await sandbox.kill()
        except XAgentError as error:
            logger.warning("sandbox %s could not be removed, the reaper will: %s", sandbox.id, error)
        finally:
            self._free_place()

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _log_failure(task: asyncio.Task[Any]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.warning("a sandbox could not be started ahead: %s", error)
