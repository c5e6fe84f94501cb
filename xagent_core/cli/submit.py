"""`xagent submit`: hands a program to the workers of a task queue."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Final

import typer

from xagent_core.cli.program import (
    CodeOption,
    CpusOption,
    EnvOption,
    FileArgument,
    FilesOption,
    LanguageOption,
    MemoryOption,
    ProgramCommand,
    TimeoutOption,
    program_arguments,
    program_request,
)
from xagent_core.cli.queues import QueueOption, QueueUrlOption
from xagent_core.cli.report import JSON_OPTION, print_json

if TYPE_CHECKING:
    from xagent_core.abc.queue import Job, ToolCall
    from xagent_core.queueing.queue import TaskQueue
    from xagent_core.types import ExecutionRequest

__all__ = ["make_app"]

_OF_PROGRAMS: Final = ("file", "code", "language", "timeout", "memory", "cpus", "files", "collect", "env")


def make_app() -> typer.Typer:
    """The command's application."""
    app = typer.Typer(rich_markup_mode=None, add_completion=False, pretty_exceptions_enable=False)
    app.command(cls=ProgramCommand)(submit)
    return app


def submit(
    ctx: typer.Context,
    file: FileArgument = None,
    *,
    code: CodeOption = None,
    language: LanguageOption = None,
    timeout: TimeoutOption = None,
    memory: MemoryOption = None,
    cpus: CpusOption = None,
    files: FilesOption = None,
    collect: Annotated[
        list[str] | None,
        typer.Option("--collect", metavar="GLOB", help="Keep matching files with the result. Repeatable."),
    ] = None,
    env: EnvOption = None,
    tool: Annotated[
        str | None, typer.Option("--tool", metavar="NAME", help="Instead of a program, call this tool.")
    ] = None,
    arguments: Annotated[
        str | None, typer.Option("--arguments", metavar="JSON|@FILE", help="The tool's arguments, as a JSON object.")
    ] = None,
    to: Annotated[str, typer.Option("--to", metavar="QUEUE", help="The named queue that it waits in.")] = "default",
    idempotent: Annotated[
        bool, typer.Option("--idempotent", help="It may run more than once: try again also when it may have run.")
    ] = False,
    key: Annotated[
        str | None, typer.Option(help="An idempotency key: submitting again with it gives the first job's id.")
    ] = None,
    delay: Annotated[float, typer.Option(help="Seconds before it may start.")] = 0.0,
    attempts: Annotated[int | None, typer.Option(help="How often it may be begun before it is a dead letter.")] = None,
    patience: Annotated[float, typer.Option(help="Seconds to wait for a queue that does not answer.")] = 0.0,
    watch: Annotated[
        bool, typer.Option("--watch", help="Show its output as it comes, and end with its exit status.")
    ] = False,
    queue: QueueOption = None,
    queue_url: QueueUrlOption = None,
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Hand a program, or a tool's call, to the workers of a task queue, and print the job's id.

    What is piped into xagent is the program's standard input.
    """
    from xagent_core.cli.interrupt import run_interruptible
    from xagent_core.cli.queues import find_queue, job_document
    from xagent_core.config import load_settings
    from xagent_core.plugins import load_plugins

    settings = load_settings()
    plugins = load_plugins(settings.disabled_plugins)
    chosen = find_queue(queue, queue_url, settings=settings, plugins=plugins)
    request: ExecutionRequest | ToolCall
    if tool is None and arguments is None:
        request = program_request(
            ctx, settings, plugins, file=file, code=code, language=language, timeout=timeout, memory=memory, cpus=cpus,
            files=files, collect=collect, env=env,
        )  # fmt: skip
    else:
        request = _tool_call(ctx, tool, arguments)

    async def enter(chosen: TaskQueue, request: ExecutionRequest | ToolCall) -> Job:
        async with chosen:
            return await chosen.submit(
                request, queue=to, idempotent=idempotent, key=key, delay=delay, attempts=attempts, patience=patience
            )

    job = run_interruptible(enter(chosen, request))
    if watch:
        from xagent_core.cli.jobs import watch as watch_job

        if as_json:
            typer.echo(json.dumps(job_document(job)))
        watch_job(job.id, queue=queue, queue_url=queue_url, as_json=as_json)
    elif as_json:
        print_json(job_document(job))
    else:
        typer.echo(job.id)


def _tool_call(ctx: typer.Context, tool: str | None, arguments: str | None) -> ToolCall:
    from xagent_core.abc.queue import ToolCall
    from xagent_core.cli.given import text_or_file

    if tool is None:
        raise typer.BadParameter("it goes with --tool", ctx=ctx, param_hint="--arguments")
    if program_arguments(ctx) or any(ctx.params[name] for name in _OF_PROGRAMS):
        raise typer.BadParameter(
            "a tool's call takes no program, and none of its options", ctx=ctx, param_hint="--tool"
        )
    try:
        return ToolCall(name=tool, arguments=json.loads(text_or_file(arguments or "{}", "--arguments")))
    except ValueError as error:
        raise typer.BadParameter(f"no JSON: {error}", ctx=ctx, param_hint="--arguments") from error
