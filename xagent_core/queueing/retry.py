"""Says when a job may be run again, and after how long."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final

from xagent_core.abc.queue import JobFailure
from xagent_core.errors import (
    BackendError,
    ConfigError,
    InvalidRequestError,
    PluginError,
    PolicyNotSupportedError,
    PoolTimeoutError,
    SandboxLostError,
    XAgentError,
)
from xagent_core.kinds import CENTURY, check_fields

__all__ = ["MOST_ATTEMPTS", "RetryPolicy", "failure_of"]

MOST_ATTEMPTS: Final = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class RetryPolicy:
    """Exponential back-off with jitter.

    The jitter is the upper half ("equal jitter"): jobs that failed together do not come back together, and none
    comes back at once.

    Attributes:
        attempts: How often a job is begun before it is a dead letter.
        base: Seconds before the second attempt, before the jitter.
        factor: How much longer each further wait is.
        most: Seconds that a wait never exceeds.

    Raises:
        ConfigError: A value is of another kind, or out of bounds.
    """

    attempts: int = 3
    base: float = 1.0
    factor: float = 2.0
    most: float = 60.0

    def __post_init__(self) -> None:
        seconds = (0, CENTURY)
        bounds = {"attempts": (1, MOST_ATTEMPTS), "base": seconds, "factor": (1, 1000), "most": seconds}
        check_fields(self, bounds, component="retry")

    def delay(self, attempt: int) -> float:
        """Seconds to wait after the attempt of that number has failed."""
        full = min(self.most, self.base * self.factor ** min(attempt - 1, 64))
        return full * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, and keeps no secret


def failure_of(error: BaseException) -> tuple[JobFailure, bool]:
    """What the books keep of an error, and whether another attempt could end otherwise.

    Returns:
        The failure, and False where every attempt would fail in the same way.
    """
    kind = type(error).__name__
    if not isinstance(error, XAgentError):
        # A bug of ours: nobody knows how far it came.
        return JobFailure(type=kind, component="worker", cause=f"{kind}: {error}", fix="Please report it."), True
    ran = "maybe"
    if isinstance(error, SandboxLostError):
        ran = error.code_ran
    elif isinstance(error, BackendError | PoolTimeoutError):
        ran = "no"  # the sandbox was never handed over
    failure = JobFailure(
        type=kind,
        component=error.component,
        cause=error.cause,
        fix=error.fix,
        code_ran="no" if ran == "no" or _hopeless(error) else "maybe",
    )
    return failure, not _hopeless(error)


def _hopeless(error: XAgentError) -> bool:
    return isinstance(error, InvalidRequestError | PolicyNotSupportedError | PluginError | ConfigError)
