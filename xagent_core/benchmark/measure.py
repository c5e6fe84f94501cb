"""Measures subjects round by round, each round in another order, so that what disturbs the machine disturbs all."""

from __future__ import annotations

import asyncio
import gc
import logging
import random
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from xagent_core.benchmark.subjects import Subject

__all__ = ["Key", "Latency", "latency_of", "measure"]

logger = logging.getLogger(__name__)

Key = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds that callers waited.

    Attributes:
        samples: How many there were.
        p50: The median.
        p95: Nearest rank; the slowest of fewer than 20.
        p99: Likewise, of fewer than 100.
    """

    samples: int
    p50: float
    p95: float
    p99: float


async def measure(
    subjects: Sequence[Subject], *, rounds: int, seed: int = 0
) -> tuple[dict[Key, Latency], dict[Key, str]]:
    """Measures all of them.

    Args:
        subjects: Some may be unable to run here.
        rounds: How often each is measured, divided by its `every`.
        seed: Of the orders.

    Returns:
        Latencies, and for those who cannot run here, why not.
    """
    failures: dict[Key, str] = {}
    opened: list[Subject] = []
    try:
        for subject in subjects:
            try:
                await subject.open()
                opened.append(subject)
            except Exception as error:  # noqa: BLE001, RUF100 - foreign code: the reason is a row of the table
                failures[subject.key] = reason(error)
                logger.warning("%s: %s", " ".join(subject.key), failures[subject.key])
        samples = await _rounds(opened, failures, rounds=rounds, order=random.Random(seed))  # noqa: S311
    finally:
        # At once: some peers wait ten seconds for a container that ignores signals.
        closed = await asyncio.gather(*(subject.close() for subject in opened), return_exceptions=True)
        for subject, failed in zip(opened, closed, strict=True):
            if failed is not None:
                logger.warning("%s could not be closed: %s", " ".join(subject.key), failed)
    return {key: latency_of(seconds) for key, seconds in samples.items() if seconds}, failures


async def _rounds(
    subjects: Sequence[Subject], failures: dict[Key, str], *, rounds: int, order: random.Random
) -> Mapping[Key, list[float]]:
    samples: dict[Key, list[float]] = {subject.key: [] for subject in subjects}
    for number in range(rounds):
        turns = [
            subject
            for subject in subjects
            if number % subject.every == 0 and subject.key not in failures
            for _ in range(subject.repeats)
        ]
        order.shuffle(turns)
        for subject in turns:
            if subject.key in failures:
                continue
            await _all_settled(subjects)
            gc.collect()
            try:
                samples[subject.key].append(await subject.once())
            except Exception as error:  # noqa: BLE001, RUF100
                failures[subject.key] = reason(error)
                logger.warning("%s: %s", " ".join(subject.key), failures[subject.key])
        logger.info("round %d of %d", number + 1, rounds)
    return samples


async def _all_settled(subjects: Sequence[Subject]) -> None:
    for subject in subjects:
        await subject.settle()


def latency_of(seconds: Sequence[float]) -> Latency:
    """The percentiles of some samples."""
    ranked = sorted(seconds)

    def rank(percent: int) -> float:
        return ranked[min(len(ranked) - 1, -(-len(ranked) * percent // 100) - 1)]

    return Latency(len(ranked), statistics.median(ranked), rank(95), rank(99))


def reason(error: Exception) -> str:
    """What a reader of the table is told of an error."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:160] if lines else ''}"
