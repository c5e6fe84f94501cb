"""The spans of this process."""

from __future__ import annotations

import functools

from opentelemetry import trace

from xagent_opentelemetry.executions import Executions
from xagent_opentelemetry.jobs import Jobs
from xagent_opentelemetry.provider import set_up

__all__ = ["Tracing", "process_tracing"]


class Tracing:
    """Executions, and the jobs that they belong to.

    Args:
        provider: Where spans go; by default the program's own, or what the environment asks for.
    """

    def __init__(self, provider: trace.TracerProvider | None = None) -> None:
        tracer = trace.get_tracer("xagent", tracer_provider=provider)
        self.executions = Executions(tracer)
        self.jobs = Jobs(tracer)


@functools.cache
def process_tracing() -> Tracing:
    """The spans of this process; made when they are first asked for."""
    set_up()
    return Tracing()
