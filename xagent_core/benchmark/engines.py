"""xagent itself: with sandboxes that stand by, and with none."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

from xagent_core.benchmark.subjects import Sample, Subject
from xagent_core.config import PoolConfig
from xagent_core.engine import Engine
from xagent_core.errors import XAgentError
from xagent_core.types import ExecutionResult

__all__ = ["Pooled", "Unpooled", "check", "consume", "pool_for", "settled"]

# A sandbox is ready when it takes a job; the interpreter in it is still starting then, on half a CPU by default.
_STANDBY_SECONDS: Final = 0.3


class _Engines(Subject):
    """An engine of a backend and a language."""

    ready: int

    def __init__(self, backend: str, sample: Sample, *, every: int = 1) -> None:
        self.group = backend
        self.language = sample.language
        self.every = every
        self._sample = sample
        self.engine = Engine(backend, pool=PoolConfig(ready=self.ready), warm=[sample.language] if self.ready else [])

    async def open(self) -> None:
        """Enters the engine, and has the language set up where that takes a first run."""
        await self.engine.__aenter__()
        try:
            await self.once()
        except BaseException:
            await self.engine.aclose()
            raise

    async def settle(self) -> None:
        """Waits until the pool is as it was before the last job."""
        await settled(self.engine, ready=self.ready)

    async def once(self) -> float:
        """Executes the program."""
        began = time.perf_counter()
        result = await self.engine.execute(self._sample.code, language=self.language)
        seconds = time.perf_counter() - began
        check(result, self._sample)
        return seconds

    async def close(self) -> None:
        """Closes the engine."""
        await self.engine.aclose()


class Pooled(_Engines):
    """A sandbox stands by, with its interpreter started."""

    name = "xagent, pool full"
    ready = 1
    repeats = 2

    async def settle(self) -> None:
        """Waits for the standby interpreter too."""
        stats = self.engine.pool.stats()
        if stats.ready < self.ready or stats.ending:
            await super().settle()
            await asyncio.sleep(_STANDBY_SECONDS)


class Unpooled(_Engines):
    """A sandbox is started for each job."""

    name = "xagent, pool empty"
    ready = 0


def check(result: ExecutionResult, sample: Sample) -> None:
    """Sees to it that nothing is measured but programs that ran.

    Raises:
        XAgentError: It did not print its line.
    """
    if not result.ok or result.output.strip() != sample.output:
        raise XAgentError(result.backend, f"{result.status}: {result.output!r} {result.error!r}")


async def settled(engine: Engine, *, ready: int) -> None:
    """Waits until as many sandboxes stand by, and none is starting or ending.

    Raises:
        TimeoutError: That took longer than a minute.
    """
    async with asyncio.timeout(60):
        while True:
            stats = engine.pool.stats()
            if stats.ready >= ready and not (stats.starting or stats.ending or stats.running):
                return
            await asyncio.sleep(0.005)


def pool_for(consumers: int) -> PoolConfig:
    """Room for what runs, what ends and what stands by; half of them start at once, as machines have few cores."""
    return PoolConfig(ready=consumers, most=4 * consumers + 4, refills=max(1, consumers // 2))


async def consume(job: Callable[[], Awaitable[float]], consumers: int, seconds: float) -> tuple[list[float], float]:
    """Has consumers run one program after another.

    Args:
        job: Runs a program and tells the seconds that it took.
        consumers: How many run programs at once.
        seconds: For how long new ones are begun.

    Returns:
        What each took, and how long all of it took.
    """
    taken: list[float] = []
    began = time.perf_counter()

    async def consumer() -> None:
        while time.perf_counter() - began < seconds:
            taken.append(await job())

    async with asyncio.TaskGroup() as group:
        for _ in range(consumers):
            group.create_task(consumer())
    return taken, time.perf_counter() - began
