"""What observers are told of jobs. Languages have their own names here, whichever alias the submitter wrote."""

from __future__ import annotations

import contextvars
from dataclasses import replace

from xagent_core.abc.queue import Job, ToolCall
from xagent_core.plugins import Plugins
from xagent_core.types import ExecutionRequest

__all__ = ["current_job", "named", "tell"]

current_job: contextvars.ContextVar[Job | None] = contextvars.ContextVar("xagent_current_job", default=None)
"""The job that the current task runs, for observers of executions and for logs."""


def named(request: ExecutionRequest | ToolCall | None, plugins: Plugins) -> ExecutionRequest | ToolCall | None:
    """What a job asks for, as observers get it."""
    return plugins.named(request) if isinstance(request, ExecutionRequest) else request


def tell(plugins: Plugins, hook: str, job: Job, **more: object) -> None:
    """Calls an observing hook of every plugin with a job.

    Args:
        plugins: What is installed.
        hook: Its name.
        job: As the books have it.
        **more: What the hook takes besides.
    """
    plugins.observe(hook, job=replace(job, request=named(job.request, plugins)), **more)
