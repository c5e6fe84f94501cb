"""Keeps sandboxes standing by, hands each out once, and sees to it that none is left."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

from xagent_core.abc.backend import Backend, Sandbox, SandboxSpec
from xagent_core.config import PoolConfig
from xagent_core.errors import PoolTimeoutError, XAgentError
from xagent_core.guest.health import is_alive
from xagent_core.shelf import Shelf
from xagent_core.stats import PoolStats

__all__ = ["Pool"]

logger = logging.getLogger(__name__)

T = TypeVar("T")

# A sandbox that was idle for less is handed out without asking it: the question costs a round trip.
_TRUSTED_SECONDS: Final = 5.0
_PING_SECONDS: Final = 1.0


# What a caller is granted: a ready sandbox and since when it has been idle, or None for a place to start one in.
_Grant = tuple[Sandbox, float] | None


class Pool:
    """The sandboxes of one backend.

    There are `config.most` places. Each is free, or belongs to one sandbox that starts, is ready, runs or ends, or to
    one caller who is about to start one. A place is free again only when what had it is known to be gone.

    Args:
        backend: Starts them.
        config: How many.
        observer: Told of each change, once for all changes of one turn of the event loop; it must not raise.
    """

    def __init__(
        self, backend: Backend, config: PoolConfig, *, observer: Callable[[PoolStats], None] | None = None
    ) -> None:
        self._backend = backend
        self._config = config
        self._observer = observer
        self._told = True
        self._shelves: dict[SandboxSpec, Shelf] = {}
        self._waiters: dict[asyncio.Future[_Grant], Shelf] = {}
        self._running: set[Sandbox] = set()
        self._places = config.most
        self._starts = asyncio.Semaphore(max(1, config.refills))
        self._tasks: set[asyncio.Task[Any]] = set()
        self._cold_starts = self._ending = self._warm = self._cold = self._discarded = 0
        self._closed = False

    def stats(self) -> PoolStats:
        """How many there are of what."""
        return PoolStats(
            ready=sum(len(shelf.ready) for shelf in self._shelves.values()),
            starting=self._cold_starts + sum(shelf.starting for shelf in self._shelves.values()),
            running=len(self._running),
            ending=self._ending,
            waiting=len(self._waiters),
            handed_out_ready=self._warm,
            handed_out_cold=self._cold,
            discarded=self._discarded,
        )

    @asynccontextmanager
    async def sandbox(self, spec: SandboxSpec, *, cold: SandboxSpec | None = None) -> AsyncIterator[Sandbox]:
        """A sandbox that has run nothing, for one job; it is destroyed in the background afterwards.

        Callers are served in the order in which they came.

        Args:
            spec: Of those that stand by.
            cold: Of one that is started for this caller, where it differs.

        Raises:
            PoolTimeoutError: All places were taken for too long.
            BackendError: The backend could not start one.
            XAgentError: The pool was closed.
        """
        sandbox = await self._acquire(self._asked(spec), cold or spec)
        try:
            yield sandbox
        finally:
            self._release(sandbox)
            self._refill()

    async def warm(self, spec: SandboxSpec) -> None:
        """Starts the configured number of sandboxes ahead, as far as there is room, and waits until they are ready.

        Raises:
            BackendError: The backend could not start one.
        """
        shelf = self._asked(spec)
        self._start_ahead(shelf)
        if fills := set(shelf.fills):
            await asyncio.wait(fills)
        for fill in fills:
            fill.result()

    def retire_idle(self) -> None:
        """Destroys the ready sandboxes of kinds that nobody has asked for lately, and what is more than needed."""
        for spec, shelf in list(self._shelves.items()):
            if shelf.idle:
                self._clear(shelf)
                if not shelf.fills:
                    del self._shelves[spec]
            else:
                for _ in range(shelf.shrink()):
                    self._discard(shelf.ready.popleft()[0])

    async def aclose(self) -> None:
        """Destroys every sandbox, those that run or are just being started included, and waits for it."""
        self._closed = True
        for turn in self._waiters:
            if not turn.done():
                turn.set_exception(self._closed_error())
        self._waiters.clear()
        for shelf in self._shelves.values():
            self._clear(shelf)
            for fill in shelf.fills:
                fill.cancel()
        for sandbox in list(self._running):
            self._release(sandbox)
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _asked(self, spec: SandboxSpec) -> Shelf:
        if self._closed:
            raise self._closed_error()
        shelf = self._shelves.setdefault(spec, Shelf(spec, self._config))
        shelf.used, shelf.broken = time.monotonic(), False
        return shelf

    def _closed_error(self) -> XAgentError:
        return XAgentError(self._backend.name, "its engine was closed", "Keep it open until its programs have ended.")

    # --- what callers get, and when

    async def _acquire(self, shelf: Shelf, cold: SandboxSpec) -> Sandbox:
        grant = await self._turn(shelf)
        if grant is not None:
            sandbox, since = grant
            if time.monotonic() - since < _TRUSTED_SECONDS or await self._answers(sandbox):
                self._warm += 1
                return self._open(sandbox)
        if self._closed:
            self._free_place()
            raise self._closed_error()
        self._cold += 1
        start = self._spawn(self._start_cold(cold))
        try:
            return self._open(await asyncio.shield(start))
        except asyncio.CancelledError:
            # A start may take minutes, and a cancelled one leaves nothing; what it made all the same is destroyed.
            start.cancel()
            start.add_done_callback(self._abandon_start)
            raise

    def _open(self, sandbox: Sandbox) -> Sandbox:
        if self._closed:
            raise self._closed_error()
        return sandbox

    async def _turn(self, shelf: Shelf) -> _Grant:
        """Waits for a ready sandbox, or a place."""
        turn: asyncio.Future[_Grant] = asyncio.get_running_loop().create_future()
        if not shelf.ready:
            shelf.miss()
        self._waiters[turn] = shelf
        self._dispatch()
        try:
            async with asyncio.timeout(self._config.wait_seconds):
                return await turn
        except BaseException as error:
            self._waiters.pop(turn, None)
            # What was granted in the same moment must not be lost.
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self._give_back(shelf, turn.result())
            self._dispatch()
            if isinstance(error, TimeoutError):
                raise PoolTimeoutError(
                    self._backend.name,
                    f"no sandbox became free within {self._config.wait_seconds:g} s ({self._config.most} in use)",
                    "Run less at once, or raise pool.most.",
                ) from error
            raise

    def _dispatch(self) -> None:
        """Serves those who wait, the first come first."""
        self._changed()
        promised: Counter[Shelf] = Counter()
        for turn, shelf in list(self._waiters.items()):
            if turn.done():  # Cancelled, and not woken yet.
                del self._waiters[turn]
            elif shelf.ready:
                del self._waiters[turn]
                self._running.add(shelf.ready[0][0])
                turn.set_result(shelf.ready.popleft())
            elif promised[shelf] < shelf.starting:
                promised[shelf] += 1  # One that is on its way comes sooner than another that is started now.
            elif self._places > 0:
                del self._waiters[turn]
                self._places -= 1
                turn.set_result(None)
            else:
                self._evict()
                return

    def _evict(self) -> None:
        """Gives up ready sandboxes of the kinds that were not used for longest, as many as are waited for."""
        while self._ending < len(self._waiters):
            shelves = [shelf for shelf in self._shelves.values() if shelf.ready]
            if not shelves:
                return
            self._discard(min(shelves, key=lambda shelf: shelf.used).ready.popleft()[0])

    async def _answers(self, sandbox: Sandbox) -> bool:
        """Whether a sandbox that was granted is still alive; one that is not leaves its place to the caller."""
        try:
            if await is_alive(sandbox, within=_PING_SECONDS):
                return True
        except BaseException:
            self._release(sandbox)
            raise
        if sandbox in self._running:
            logger.info("sandbox %s did not live until it was needed", sandbox.id)
            self._running.remove(sandbox)
            gone = self._spawn(self._destroy(sandbox))
            try:
                await asyncio.shield(gone)
            except asyncio.CancelledError:
                gone.add_done_callback(lambda _: self._free_place())
                raise
        return self._closed

    async def _start_cold(self, spec: SandboxSpec) -> Sandbox:
        """Starts a sandbox in a place that the caller has."""
        self._cold_starts += 1
        try:
            sandbox = await self._backend.start(spec)
        except BaseException:
            self._cold_starts -= 1
            self._free_place()
            raise
        self._cold_starts -= 1
        self._running.add(sandbox)
        self._changed()
        if self._closed:
            self._release(sandbox)
        return sandbox

    def _abandon_start(self, start: asyncio.Task[Sandbox]) -> None:
        if not start.cancelled() and start.exception() is None:
            self._release(start.result())

    def _give_back(self, shelf: Shelf, grant: _Grant) -> None:
        if grant is None:
            self._free_place()
        elif grant[0] in self._running:
            self._running.remove(grant[0])
            shelf.ready.appendleft(grant)

    # --- what stands by

    def _refill(self) -> None:
        """Starts what is missing, the kind used last first; while callers wait for places, those come first."""
        if not self._closed and not self._waiters:
            for shelf in sorted(self._shelves.values(), key=lambda shelf: -shelf.used):
                if not shelf.idle:
                    self._start_ahead(shelf)

    def _start_ahead(self, shelf: Shelf) -> None:
        for _ in range(shelf.lacking):
            fill = self._spawn(self._fill(shelf))
            shelf.fills.add(fill)
            fill.add_done_callback(lambda fill: self._filled(shelf, fill))

    def _filled(self, shelf: Shelf, fill: asyncio.Task[None]) -> None:
        shelf.fills.discard(fill)
        if not fill.cancelled() and (error := fill.exception()) is not None:
            logger.warning("a sandbox could not be started ahead: %s", error)

    async def _fill(self, shelf: Shelf) -> None:
        async with self._starts:
            if self._closed or self._places <= 0:
                return
            self._places -= 1
            shelf.starting += 1
            try:
                sandbox = await self._backend.start(shelf.spec)
            except BaseException:
                shelf.starting -= 1
                shelf.broken = True
                self._free_place()
                raise
            shelf.starting -= 1
            self._shelve(shelf, sandbox)

    def _shelve(self, shelf: Shelf, sandbox: Sandbox) -> None:
        if self._closed:
            self._discard(sandbox)
        else:
            shelf.ready.append((sandbox, time.monotonic()))
            self._dispatch()

    # --- how they end

    def _clear(self, shelf: Shelf) -> None:
        while shelf.ready:
            self._discard(shelf.ready.popleft()[0])

    def _release(self, sandbox: Sandbox) -> None:
        """Takes a sandbox from its caller, unless that was done before: a closing pool does not wait for callers."""
        if sandbox in self._running:
            self._running.remove(sandbox)
            self._discard(sandbox)

    def _discard(self, sandbox: Sandbox) -> None:
        """Destroys a sandbox in the background; its place is free when it is gone."""
        self._ending += 1
        self._changed()
        self._spawn(self._destroy(sandbox)).add_done_callback(self._ended)

    def _ended(self, _destroyed: asyncio.Task[None]) -> None:
        self._ending -= 1
        self._free_place()
        self._refill()

    async def _destroy(self, sandbox: Sandbox) -> None:
        self._discarded += 1
        try:
            await sandbox.kill()
        except XAgentError as error:
            logger.warning("sandbox %s could not be removed, the reaper will: %s", sandbox.id, error)

    def _free_place(self) -> None:
        self._places += 1
        self._dispatch()

    def _changed(self) -> None:
        if self._observer is not None and self._told:
            self._told = False
            asyncio.get_running_loop().call_soon(self._tell, self._observer)

    def _tell(self, observer: Callable[[PoolStats], None]) -> None:
        self._told = True
        observer(self.stats())

    def _spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
