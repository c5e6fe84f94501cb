"""A moment of the pool, as observers and `engine.pool.stats()` see it."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PoolStats"]


@dataclass(frozen=True, kw_only=True, slots=True)
class PoolStats:
    """Counts of sandboxes, and of those handed out so far.

    Attributes:
        ready: They stand by.
        starting: Of them, and of those that callers wait for.
        running: Handed out.
        ending: Being destroyed.
        waiting: Callers that have neither a sandbox nor a place to start one in.
        handed_out_ready: They had stood by.
        handed_out_cold: They were started for their caller.
        discarded: Destroyed, or being destroyed.
    """

    ready: int
    starting: int
    running: int
    ending: int
    waiting: int
    handed_out_ready: int
    handed_out_cold: int
    discarded: int
