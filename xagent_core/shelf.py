"""The sandboxes of one spec: which are ready, and how many of them should be."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass, field

from xagent_core.abc.backend import Sandbox, SandboxSpec
from xagent_core.config import PoolConfig

__all__ = ["Shelf"]


@dataclass(slots=True, eq=False)
class Shelf:
    """The ready sandboxes of one spec.

    Attributes:
        spec: What they were started under.
        config: Between how many and how many stand by.
        ready: Each with the moment since when it is idle.
        used: When somebody asked last.
        fills: The tasks that start one ahead.
        starting: Of them, those that have a place.
        broken: None is started ahead any more, for one failed: whoever asks next is told why.
        target: How many should stand by. A caller who finds none raises it; time lowers it.
        missed: When a caller found none, or the target was lowered.
    """

    spec: SandboxSpec
    config: PoolConfig
    ready: deque[tuple[Sandbox, float]] = field(default_factory=deque)
    used: float = field(default_factory=time.monotonic)
    fills: set[asyncio.Task[None]] = field(default_factory=set)
    starting: int = 0
    broken: bool = False
    target: int = field(init=False)
    missed: float = 0.0

    def __post_init__(self) -> None:
        self.target = self.config.ready

    @property
    def idle(self) -> bool:
        """Whether nobody has asked for it lately."""
        return time.monotonic() - self.used > self.config.idle_seconds

    @property
    def lacking(self) -> int:
        """How many more should be started ahead."""
        return 0 if self.broken else self.target - len(self.ready) - len(self.fills)

    def miss(self) -> None:
        """Notes that a caller found none ready: one more is to stand by, up to the configured maximum."""
        self.target = max(self.target, min(self.target + 1, self.config.ready_most))
        self.missed = time.monotonic()

    def shrink(self) -> int:
        """Lowers the target by one where no caller has found the shelf empty for long.

        Returns:
            How many ready sandboxes are more than the target.
        """
        if self.target > self.config.ready and time.monotonic() - self.missed > self.config.idle_seconds:
            self.target -= 1
            self.missed = time.monotonic()
        return max(0, len(self.ready) - self.target)
