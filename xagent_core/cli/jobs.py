"""`xagent jobs`: what became of jobs, and what to do about them."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import typer

from xagent_core.cli.program import OutputDirOption, program_status
from xagent_core.cli.queues import QueueOption, QueueUrlOption
from xagent_core.cli.report import JSON_OPTION, note, print_json, print_table

if TYPE_CHECKING:
    from xagent_core.abc.queue import Job, ToolResult
    from xagent_core.queueing.queue import TaskQueue

__all__ = ["make_app"]

T = TypeVar("T")

_JobArgument = Annotated[str, typer.Argument(metavar="ID", help="The job's id.", show_default=False)]
_STATES: Final = ("queued", "running", "finished", "dead", "cancelled")
_OUTPUT_CLOSED: Final = 141
_NOT_RUN: Final = 125


def make_app() -> typer.Typer:
    """The command's application."""
    app = typer.Typer(
        rich_markup_mode=None, add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True,
        help="See what became of jobs: list, show, watch; cancel and requeue them.",
    )  # fmt: skip
    app.command("list")(list_jobs)
    for command in (show, watch, cancel, requeue):
        app.command()(command)
    return app


def list_jobs(
    *,
    states: Annotated[
        list[str] | None, typer.Option("--state", help=f"One of {', '.join(_STATES)}. Repeatable.")
    ] = None,
    name: Annotated[str | None, typer.Option("--in", metavar="QUEUE", help="Only of this named queue.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many at most.")] = 50,
    queue: QueueOption = None,
    queue_url: QueueUrlOption = None,
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """List jobs, the latest first."""
    from xagent_core.cli.queues import ago, job_document

    chosen: Any = states or ()
    if unknown := set(chosen) - set(_STATES):
        raise typer.BadParameter(f"{unknown.pop()} is none of {', '.join(_STATES)}", param_hint="--state")
    jobs = _ask(queue, queue_url, lambda q: q.jobs(*chosen, queue=name, limit=limit))
    if as_json:
        print_json([job_document(job) for job in jobs])
        return
    print_table(
        ("job", "state", "queue", "attempt", "runs", "submitted", "worker", "why"),
        [
            (
                job.id,
                job.result.status if job.result else job.state,
                job.queue,
                f"{job.attempt}/{job.attempts}",
                " ".join(job.runs).removeprefix("language "),
                f"{ago(job.created)} ago",
                job.worker or "",
                job.failure.cause if job.failure else job.unreadable,
            )
            for job in jobs
        ],
    )


def show(
    job_id: _JobArgument,
    *,
    output_dir: OutputDirOption = None,
    queue: QueueOption = None,
    queue_url: QueueUrlOption = None,
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Show one job: where it stands, its attempts, and its result once it has one."""
    from xagent_core.cli.queues import job_document
    from xagent_core.cli.save import save_files
    from xagent_core.types import ExecutionResult

    job = _ask(queue, queue_url, lambda q: q.job(job_id))
    if output_dir is not None and isinstance(job.result, ExecutionResult):
        save_files(job.result.files, output_dir)
    if as_json:
        print_json(job_document(job))
        return
    print_table(("", ""), _facts(job))


def watch(
    job_id: _JobArgument,
    *,
    after: Annotated[int, typer.Option(min=0, help="Go on behind the event of this number.")] = 0,
    queue: QueueOption = None,
    queue_url: QueueUrlOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a line of JSON for each event, then the job.")] = False,
) -> None:
    """Show a job's output as it comes, and end with the program's exit status.

    Stopping to watch does not stop the job. The exit status is that of `xagent run`; 125 for a job that is cancelled
    or dead. A tool's content follows its output; the exit status is 1 where the tool failed.
    """
    from xagent_core.abc.queue import ToolResult
    from xagent_core.cli.follow import follow
    from xagent_core.cli.streams import OutputClosedError

    try:
        job = _ask(queue, queue_url, lambda q: follow(q, job_id, after=after, as_json=as_json))
    except OutputClosedError as error:
        raise typer.Exit(_OUTPUT_CLOSED) from error
    if isinstance(job.result, ToolResult):
        if not as_json:
            typer.echo(_text(job.result))
        raise typer.Exit(job.result.status == "error")
    if job.result is not None:
        raise typer.Exit(program_status(job.result))
    if not as_json:
        note(f"job {job.id} is {job.state}" + (f": {job.failure.cause}. {job.failure.fix}" if job.failure else ""))
    raise typer.Exit(_NOT_RUN)


def cancel(
    job_id: _JobArgument,
    *,
    queue: QueueOption = None,
    queue_url: QueueUrlOption = None,
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Cancel a job: one that waits never starts, one that runs is killed with its sandbox."""
    _show_short(_ask(queue, queue_url, lambda q: q.cancel(job_id)), as_json=as_json, asked="cancel")


def requeue(
    job_id: _JobArgument,
    *,
    queue: QueueOption = None,
    queue_url: QueueUrlOption = None,
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Give a dead letter further attempts."""
    _show_short(_ask(queue, queue_url, lambda q: q.requeue(job_id)), as_json=as_json, asked="requeue")


def _ask(name: str | None, url: str | None, question: Callable[[TaskQueue], Awaitable[T]]) -> T:
    from xagent_core.cli.interrupt import run_interruptible
    from xagent_core.cli.queues import find_queue

    async def ask() -> T:
        async with find_queue(name, url) as queue:
            return await question(queue)

    return run_interruptible(ask())


def _show_short(job: Job, *, as_json: bool, asked: str) -> None:
    from xagent_core.cli.queues import job_document

    if as_json:
        print_json(job_document(job))
    elif asked == "cancel" and job.state == "running":
        typer.echo(f"{job.id}: its worker is told to kill it")
    else:
        typer.echo(f"{job.id}: {job.state}")


def _text(result: ToolResult) -> str:
    return result.content if isinstance(result.content, str) else json.dumps(result.content)


def _facts(job: Job) -> list[tuple[str, str]]:
    from xagent_core.abc.queue import ToolCall, ToolResult
    from xagent_core.cli.queues import ago

    facts = [
        ("job", job.id),
        ("state", job.state),
        ("queue", job.queue),
        ("attempt", f"{job.attempt} of {job.attempts}{', idempotent' if job.idempotent else ''}"),
        job.runs,
        *([("arguments", json.dumps(job.request.arguments))] if isinstance(job.request, ToolCall) else []),
        ("submitted", f"{ago(job.created)} ago"),
    ]
    facts += [("idempotency key", job.key)] if job.key else []
    facts += [("started", f"{ago(job.started)} ago, on {job.worker}")] if job.started else []
    facts += [("ended", f"{ago(job.ended)} ago")] if job.ended else []
    facts += [("unreadable", job.unreadable)] if job.unreadable else []
    if failure := job.failure:
        facts.append(("failure", f"{failure.type}: {failure.component}: {failure.cause}. {failure.fix}".strip()))
    if isinstance(result := job.result, ToolResult):
        facts += [("result", result.status), ("content", _text(result))]
    elif result:
        code = "" if result.exit_code is None else f", exit code {result.exit_code}"
        facts.append(("result", f"{result.status}{code}, {result.execution_time:.3f} s on {result.backend}"))
        facts += [(name, text) for name, text in (("stdout", result.output), ("stderr", result.error)) if text]
        facts += [("file", f"{file.path}, {len(file.content)} bytes") for file in result.files]
    return facts
