"""What the commands about task queues share: which queue is meant, and how jobs are shown."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from xagent_core.abc.queue import Job
    from xagent_core.config import Settings
    from xagent_core.plugins import Plugins
    from xagent_core.queueing.queue import TaskQueue

__all__ = ["QueueOption", "QueueUrlOption", "ago", "find_queue", "job_document"]

QueueOption = Annotated[
    str | None, typer.Option("--queue", metavar="NAME", help="A task queue's name; by default XAGENT_QUEUE, or docket.")
]
QueueUrlOption = Annotated[
    str | None, typer.Option("--queue-url", metavar="URL", help="Its server; by default XAGENT_QUEUE_URL.")
]


def find_queue(
    name: str | None, url: str | None, *, settings: Settings | None = None, plugins: Plugins | None = None
) -> TaskQueue:
    """The queue that the options, the environment or the configuration file name.

    Raises:
        ConfigError: It lives in one process alone, and so in none that a command could reach.
        UnknownPluginError: There is no such queue.
    """
    from xagent_core.errors import ConfigError
    from xagent_core.queueing.selection import get_queue

    queue = get_queue(name, url=url, settings=settings, plugins=plugins)
    if not queue.carrier.shared:
        raise ConfigError(
            f"queue {queue.name}",
            "without a server it lives in one process alone, where no other command sees it",
            "Set XAGENT_QUEUE_URL, for example to redis://localhost:6379/0.",
        )
    return queue


def job_document(job: Job) -> dict[str, Any]:
    """A job as plain values."""
    from xagent_core.queueing.payload import document

    plain: dict[str, Any] = document(job)
    return plain


def ago(moment: float) -> str:
    """How long ago a moment was, in one unit."""
    seconds = max(0.0, time.time() - moment)
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
