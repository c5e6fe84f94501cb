"""Sustained executions a second: consumers that run one program after another, xagent and its rival in turns."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from docker.client import from_env

from benchmarks.raw_bwrap import LIMITED, bwrap_loop
from benchmarks.raw_docker import NO_NETWORK, image_and_spec, sdk_run
from benchmarks.subjects import SAMPLES, settings
from xagent_core import Engine
from xagent_core.benchmark.engines import check, consume, pool_for, settled
from xagent_core.benchmark.measure import Latency, latency_of

__all__ = ["RIVALS", "Pace", "Sustained", "pace", "sustained"]

_SLICES = 2


@dataclass(slots=True)
class Sustained:
    """What some consumers reached.

    Attributes:
        backend: The engine.
        against: What the plain loop does.
        consumers: How many ran programs at once.
        ours: xagent's executions a second.
        rival: The plain loop's.
        job: What a caller of xagent waited, for a sandbox and then for the result.
        run: Of that, from the moment when there was a sandbox.
        rival_job: What a turn of the plain loop took.
        cpu: Processor seconds of the whole machine for each of xagent's executions, the kernel's work included.
        rival_cpu: Likewise, of the plain loop's.
    """

    backend: str
    against: str
    consumers: int
    ours: float = 0.0
    rival: float = 0.0
    job: Latency | None = None
    run: Latency | None = None
    rival_job: Latency | None = None
    cpu: float = 0.0
    rival_cpu: float = 0.0


@dataclass(frozen=True, slots=True)
class Pace:
    """What some consumers of one language reached, beside no rival.

    Attributes:
        backend: The engine.
        language: What the programs are written in.
        consumers: How many ran programs at once.
        rate: Executions a second.
        job: What a caller waited, for a sandbox and then for the result.
    """

    backend: str
    language: str
    consumers: int
    rate: float
    job: Latency


@dataclass(slots=True)
class _Tally:
    seconds: list[float] = field(default_factory=list)
    elapsed: float = 0.0
    busy: float = 0.0

    async def take(self, job: Callable[[], Awaitable[float]], consumers: int, seconds: float) -> None:
        before = _busy_seconds()
        taken, elapsed = await consume(job, consumers, seconds)
        self.busy += _busy_seconds() - before
        self.seconds += taken
        self.elapsed += elapsed

    @property
    def rate(self) -> float:
        return len(self.seconds) / self.elapsed

    @property
    def cpu(self) -> float:
        return self.busy / len(self.seconds)


RIVALS: Final = {"docker": tuple(NO_NETWORK), "bubblewrap": ("bwrap", LIMITED)}
"""By backend, the plain loops: of Docker's SDK with the network kept away in either way, and of a bare bwrap without
and with limits."""


async def pace(backend: str, language: str, *, consumers: int, seconds: float) -> Pace:
    """Measures one language's programs on fresh sandboxes.

    Args:
        backend: The engine.
        language: A key of `SAMPLES`.
        consumers: How many run programs at once.
        seconds: For how long.

    Returns:
        What they reached.
    """
    tally = _Tally()
    await _ours(backend, language, consumers, seconds, tally)
    return Pace(backend, language, consumers, tally.rate, latency_of(tally.seconds))


async def sustained(backend: str, against: str, *, consumers: int, seconds: float) -> Sustained:
    """Measures Python programs on fresh sandboxes.

    Args:
        backend: A key of `RIVALS`.
        against: One of its rivals.
        consumers: How many run programs at once.
        seconds: How long each side runs.

    Returns:
        What they reached.
    """
    turn: Callable[[], float]
    with contextlib.ExitStack() as ends:
        if backend == "docker":
            image, spec = await image_and_spec("python")
            client = ends.enter_context(contextlib.closing(from_env(max_pool_size=consumers + 1)))
            turn = functools.partial(sdk_run, client, image, spec, against)
        else:
            turn = ends.enter_context(bwrap_loop(await settings(backend) if against == LIMITED else None))
        return await _both(backend, against, consumers, seconds, turn)


async def _both(backend: str, against: str, consumers: int, seconds: float, turn: Callable[[], float]) -> Sustained:
    ours, rival = _Tally(), _Tally()
    runs: list[float] = []
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(consumers) as threads:

        async def plain() -> float:
            return await loop.run_in_executor(threads, turn)

        for _ in range(_SLICES):
            runs += await _ours(backend, "python", consumers, seconds / _SLICES, ours)
            await rival.take(plain, consumers, seconds / _SLICES)
    return Sustained(
        backend=backend,
        against=against,
        consumers=consumers,
        ours=ours.rate,
        rival=rival.rate,
        job=latency_of(ours.seconds),
        run=latency_of(runs),
        rival_job=latency_of(rival.seconds),
        cpu=ours.cpu,
        rival_cpu=rival.cpu,
    )


async def _ours(backend: str, language: str, consumers: int, seconds: float, tally: _Tally) -> list[float]:
    """What each job took once it had a sandbox."""
    sample, runs = SAMPLES[language], []
    async with Engine(backend, pool=pool_for(consumers), warm=[language]) as engine:

        async def execute() -> float:
            began = time.perf_counter()
            result = await engine.execute(sample.code, language=language)
            seconds = time.perf_counter() - began
            check(result, sample)
            runs.append(seconds - result.timings.acquire)
            return seconds

        # What stood by before the start is no throughput: the pool is in its stride before time is taken.
        await consume(execute, consumers, min(1.0, seconds / 2))
        await tally.take(execute, consumers, seconds)
        await settled(engine, ready=0)
    return runs


def _busy_seconds() -> float:
    """What all processors have worked since the machine started (proc(5): user, nice, system, irq, softirq)."""
    ticks = [int(word) for word in Path("/proc/stat").read_text("ascii").split("\n", 1)[0].split()[1:8]]
    return (sum(ticks[:3]) + sum(ticks[5:7])) / os.sysconf("SC_CLK_TCK")
