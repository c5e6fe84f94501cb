"""xagent itself: with sandboxes that stand by, and with none."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Final

from benchmarks.subjects import PROGRAMS, Subject
from xagent_core import Engine, ExecutionResult
from xagent_core.config import PoolConfig
from xagent_core.errors import XAgentError

__all__ = ["Pooled", "Unpooled", "check", "engine_subjects", "settled"]

# A sandbox is ready when it takes a job; the interpreter in it is still starting then, on half a CPU by default.
_STANDBY_SECONDS: Final = 0.3


class _Engines(Subject):
    """An engine of a backend and a language."""

    ready: int

    def __init__(self, backend: str, language: str, *, every: int = 1) -> None:
        self.group = backend
        self.language = language
        self.every = every
        self.engine = Engine(backend, pool=PoolConfig(ready=self.ready), warm=[language] if self.ready else [])

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
        result = await self.engine.execute(PROGRAMS[self.language], language=self.language)
        seconds = time.perf_counter() - began
        check(result)
        return seconds

    async def close(self) -> None:
        """Closes the engine."""
        await self.engine.aclose()


class Pooled(_Engines):
    """A sandbox stands by, with its interpreter started."""

    name = "xagent, pool full"
    ready = 1

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


def engine_subjects(backends: Sequence[str], languages: Sequence[str]) -> list[Subject]:
    """Both ways, for each backend and language."""
    subjects: list[Subject] = []
    for backend in backends:
        for language in languages:
            slow = {"go": 3, "typescript": 2}.get(language, 1)
            subjects.append(Pooled(backend, language, every=slow))
            subjects.append(Unpooled(backend, language, every=slow if language == "python" else 3))
    return subjects


def check(result: ExecutionResult) -> None:
    """Sees to it that nothing is measured but programs that ran.

    Raises:
        XAgentError: It did not print its line.
    """
    if not result.ok or result.output.strip() != "1":
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
