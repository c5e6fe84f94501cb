"""Writes log records as JSON, a line a record, with the job and the trace that they belong to."""

from __future__ import annotations

import logging
from typing import Any

from pythonjsonlogger.json import JsonFormatter

from xagent_core.queueing.observing import current_job
from xagent_logs.records import identity

__all__ = ["JobContext", "use_json"]


class JobContext(logging.Filter):
    """Adds what the current task runs: `job`, `attempt`, `queue`, and `trace` where one is carried."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Adds it; every record passes."""
        for name, value in _current().items():
            if not hasattr(record, name):
                setattr(record, name, value)
        return True


def _current() -> dict[str, Any]:
    job = current_job.get()
    return identity(job) if job is not None else {}


def use_json(logger: logging.Logger | None = None) -> None:
    """Lets every handler of a logger write JSON to where it writes.

    Args:
        logger: By default the root logger, which gets a handler for the standard error if it has none.
    """
    chosen = logger or logging.getLogger()
    if not chosen.handlers:
        chosen.addHandler(logging.StreamHandler())
    formatter = JsonFormatter(
        "%(asctime)s %(levelname)s %(name)s %(message)s",
        rename_fields={"asctime": "time", "levelname": "level", "name": "logger"},
        datefmt="%Y-%m-%dT%H:%M:%S%z",
    )
    for handler in chosen.handlers:
        handler.setFormatter(formatter)
        if not any(isinstance(given, JobContext) for given in handler.filters):
            handler.addFilter(JobContext())
