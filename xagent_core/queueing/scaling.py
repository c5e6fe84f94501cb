"""Decides how many workers there should be: on waiting jobs, the oldest one's age, and busy slots."""

from __future__ import annotations

import math
from dataclasses import dataclass

from xagent_core.abc.queue import QueueDepth, ScalingDecision
from xagent_core.errors import ConfigError

__all__ = ["Scaler", "ScalingConfig"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ScalingConfig:
    """The bounds, and how slowly it turns.

    Attributes:
        least: Workers that are always there.
        most: Workers that are never exceeded.
        slots: Slots of one worker.
        age: Seconds that a job may wait while slots are busy before a worker is added for it alone.
        settle: Seconds after a decision before workers are added again: they take a while to begin.
        calm: Seconds for which fewer workers must have been enough before one is drained.

    Raises:
        ConfigError: The bounds contradict each other.
    """

    least: int
    most: int
    slots: int
    age: float = 1.0
    settle: float = 3.0
    calm: float = 15.0

    def __post_init__(self) -> None:
        if not 1 <= self.least <= self.most:
            raise ConfigError("autoscale", f"{self.least}:{self.most} are no bounds", "Write MIN:MAX, such as 1:4.")

    @classmethod
    def parse(cls, bounds: str, *, slots: int, calm: float) -> ScalingConfig:
        """Reads `MIN:MAX`.

        Raises:
            ConfigError: It is something else.
        """
        least, _, most = bounds.partition(":")
        if not (least.isdigit() and most.isdigit()):
            raise ConfigError("autoscale", f"{bounds!r} are no bounds", "Write MIN:MAX, such as 1:4.")
        return cls(least=int(least), most=int(most), slots=slots, calm=calm)


class Scaler:
    """Adds workers at once and in large steps, and takes them away late and one by one.

    A job that waits costs its caller time; a worker that is idle costs next to nothing, and starting it again takes
    seconds. So load that comes in waves does not make the number of workers swing.

    Args:
        config: The bounds.
    """

    def __init__(self, config: ScalingConfig) -> None:
        self._config = config
        self._changed = -math.inf
        self._calm_since: float | None = None

    def decide(self, depth: QueueDepth, *, workers: int, busy: int, now: float) -> ScalingDecision:
        """What to do now.

        Args:
            depth: The named queues that the workers serve.
            workers: How many there are, those that are starting included and those that drain left out.
            busy: Their slots in use.
            now: The time, by a clock that never goes back.
        """
        config = self._config
        slots = workers * config.slots
        needed = min(config.most, max(config.least, math.ceil((depth.waiting + busy) / config.slots)))
        wanted, reason = workers, "the workers suit the load"
        pressed = depth.waiting > max(0, slots - busy) or (depth.waiting and depth.oldest_age > config.age)
        if needed >= workers:
            self._calm_since = None
        elif self._calm_since is None:
            self._calm_since = now
        if workers < config.least:
            wanted, reason = config.least, "fewer than the least that there should be"
        elif workers > config.most:
            wanted, reason = config.most, "more than the most that there should be"
        elif pressed and needed > workers:
            if now - self._changed >= config.settle:
                # Doubling is fast enough for any burst, and does not start a whole fleet for a second's load.
                wanted = min(needed, workers * 2)
                reason = f"{depth.waiting} jobs wait, the oldest for {depth.oldest_age:.1f} s"
        elif self._calm_since is not None and now - self._calm_since >= config.calm:
            wanted, reason = workers - 1, f"{needed} would have been enough for {config.calm:g} s"
        if wanted != workers:
            self._changed, self._calm_since = now, None
        return ScalingDecision(
            workers=workers,
            wanted=wanted,
            waiting=depth.waiting,
            oldest_age=depth.oldest_age,
            busy=busy,
            slots=slots,
            reason=reason,
        )
