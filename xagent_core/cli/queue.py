"""`xagent queue`: how a task queue and its workers do."""

from __future__ import annotations

from typing import Annotated

import typer

from xagent_core.cli.queues import QueueOption, QueueUrlOption
from xagent_core.cli.report import JSON_OPTION, print_json, print_table

__all__ = ["make_app"]


def make_app() -> typer.Typer:
    """The command's application."""
    app = typer.Typer(
        rich_markup_mode=None, add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True,
        help="See how a task queue and its workers do.",
    )  # fmt: skip
    app.callback()(lambda: None)
    app.command()(stats)
    return app


def stats(
    *,
    queue: QueueOption = None,
    queue_url: QueueUrlOption = None,
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Show how many jobs wait, run and are dead in each named queue, and which workers live."""
    from xagent_core.abc.queue import QueueStats
    from xagent_core.cli.interrupt import run_interruptible
    from xagent_core.cli.queues import ago, find_queue
    from xagent_core.queueing.payload import document

    async def ask() -> QueueStats:
        async with find_queue(queue, queue_url) as chosen:
            return await chosen.stats()

    found = run_interruptible(ask())
    if as_json:
        print_json(document(found))
        return
    print_table(
        ("queue", "waiting", "delayed", "running", "dead", "oldest waits", "finished"),
        [
            (
                name,
                str(depth.waiting),
                str(depth.delayed),
                str(depth.running),
                str(depth.dead),
                f"{depth.oldest_age:.1f} s",
                str(depth.totals.get("finished", 0)),
            )
            for name, depth in found.queues.items()
        ],
    )
    print_table(
        ("worker", "queues", "busy", "backend", "up", ""),
        [
            (
                worker.id,
                ", ".join(worker.queues),
                f"{worker.busy}/{worker.slots}",
                worker.backend,
                ago(worker.started),
                "draining" if worker.draining else "",
            )
            for worker in found.workers
        ],
    )
