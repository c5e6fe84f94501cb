"""Keeps docket from repeating with every try that Redis is away: the worker whose queue it is says so, once."""

from __future__ import annotations

import contextlib
import contextvars
import logging
from collections.abc import Iterator
from typing import Final

from redis.exceptions import RedisError

from xagent_core.queueing.outages import demote

__all__ = ["hushed"]

_ours: contextvars.ContextVar[bool] = contextvars.ContextVar("xagent_docket_ours", default=False)
_LOGGERS: Final = ("docket.worker", "docket.strikelist", "docket._redelivery")
_SAID: Final = ("Redis is unavailable", "Redis error")


class _Hushed(logging.Filter):
    """Makes what our dockets say of an outage a matter of debugging; those of others say what they did."""

    def filter(self, record: logging.LogRecord) -> bool:
        cause = record.exc_info[1] if record.exc_info else None
        if not _ours.get() or not (isinstance(cause, RedisError) or str(record.msg).startswith(_SAID)):
            return True
        return demote(record)


_HUSHED: Final = _Hushed()


@contextlib.contextmanager
def hushed() -> Iterator[None]:
    """Hushes docket in this context, and in the tasks that are made in it."""
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_HUSHED)
    token = _ours.set(True)
    try:
        yield
    finally:
        _ours.reset(token)
