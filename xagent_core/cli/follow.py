"""Follows a job in the terminal: its output as it comes, and what happens to it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from typing import TYPE_CHECKING

import typer

from xagent_core.cli.queues import job_document
from xagent_core.cli.report import note
from xagent_core.cli.streams import Relay
from xagent_core.queueing.payload import document

if TYPE_CHECKING:
    from xagent_core.abc.queue import Job, JobEvent
    from xagent_core.queueing.queue import TaskQueue

__all__ = ["follow"]


async def follow(queue: TaskQueue, job_id: str, *, after: int = 0, as_json: bool = False) -> Job:
    """Shows what happens to a job until it has ended.

    Args:
        queue: The queue, which is open.
        job_id: The job.
        after: The number of the last event that was seen already.
        as_json: Whether each event is printed as one line of JSON, at last the job as another, and nothing else.

    Returns:
        The job, which has ended.

    Raises:
        OutputClosedError: Whoever read the output has gone; the job goes on.
        XAgentError: What `TaskQueue.events` raises.
    """
    relay = Relay()

    async def feed() -> None:
        try:
            async with contextlib.aclosing(queue.events(job_id, after=after)) as events:
                async for event in events:
                    if as_json:
                        typer.echo(json.dumps(document(event)))
                    elif event.output is not None:
                        relay.put(event.output)
                    elif text := _said(event):
                        note(text)
        finally:
            relay.end()

    feeding = asyncio.create_task(feed())
    try:
        await relay.run()
        await feeding
    finally:
        feeding.cancel()
        await asyncio.wait([feeding])
    job = await queue.job(job_id)
    if as_json:
        typer.echo(json.dumps(job_document(job)))
    return job


def _said(event: JobEvent) -> str:
    """What a reader is told of an event; how things go their way only interests a person who watches."""
    if event.kind == "retry":
        pause = float(event.detail["delay"])
        return f"attempt {event.attempt} failed, the next is in {pause:.1f} s: {event.detail['cause']}"
    if sys.stderr is None or not sys.stderr.isatty():
        return ""
    if event.kind == "started":
        return f"attempt {event.attempt} started on {event.detail['worker']}"
    return "queued" if event.kind == "queued" else event.detail["state"]
