"""Refuses values of callers and of configuration files that are of the wrong kind, or out of bounds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Final

from xagent_core.errors import ConfigError, XAgentError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

__all__ = ["CENTURY", "check", "check_fields"]

CENTURY: Final = 3_153_600_000.0
"""Seconds that nothing exceeds: sums of it and the time of day are exact to microseconds in Redis' numbers."""

_KINDS: Final[Mapping[type, str]] = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}


def check(
    name: str,
    value: Any,
    kind: type,
    bounds: tuple[float, float] = (-math.inf, math.inf),
    *,
    component: str,
    error: type[XAgentError] = ConfigError,
) -> None:
    """Checks one value.

    Args:
        name: What the caller knows it as.
        value: The value.
        kind: `int`, `float` (which a whole number is too), `str` or `bool`.
        bounds: The least and the most that a number may be; NaN is never within.
        component: Who refuses it.
        error: As what it is refused.

    Raises:
        XAgentError: The `error`: it is of another kind, or out of bounds.
    """
    fits = isinstance(value, int | float if kind is float else kind)
    if not fits or (isinstance(value, bool) and kind is not bool):
        # What was to be text may hold a password.
        shown = repr(value)[:80] if kind in (int, float) else type(value).__name__
        raise error(component, f"{name} must be {_KINDS[kind]}, not {shown}")
    if kind in (int, float) and not bounds[0] <= value <= bounds[1]:
        least, most = bounds
        fix = f"It is at least {least}." if math.isinf(most) else f"Choose from {least} to {most}."
        raise error(component, f"{name}={value!r} is out of bounds", fix)


def check_fields(settings: DataclassInstance, bounds: Mapping[str, tuple[float, float]], *, component: str) -> None:
    """Checks all fields of settings, each of which is to be of its default's kind.

    Raises:
        ConfigError: One is of another kind, or out of its bounds.
    """
    for field in fields(settings):
        limits = bounds.get(field.name, (-math.inf, math.inf))
        check(field.name, getattr(settings, field.name), type(field.default), limits, component=component)
