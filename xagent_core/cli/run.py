"""`xagent run`: one program, in one sandbox, as if it ran here."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Final

import typer

from xagent_core.cli.program import (
    BackendOption,
    CodeOption,
    CollectOption,
    CpusOption,
    EnvOption,
    FileArgument,
    FilesOption,
    LanguageOption,
    MemoryOption,
    OutputDirOption,
    ProgramCommand,
    TimeoutOption,
    program_request,
    program_status,
)
from xagent_core.cli.report import JSON_OPTION, note, print_json

if TYPE_CHECKING:
    from xagent_core.config import Settings
    from xagent_core.engine import Engine
    from xagent_core.plugins import Plugins
    from xagent_core.policy import Plan
    from xagent_core.types import ExecutionRequest, ExecutionResult

__all__ = ["make_app"]

_EPILOG: Final = """\
Exit status: the program's own; 124 when it was stopped at its time limit; 137 when it was killed, ran out of memory,
or was stopped at its output limit; 125 when xagent or the backend failed; 2 for wrong usage; 130, 143 or 129 when
xagent was stopped by Ctrl-C, SIGTERM or SIGHUP; 141 when whoever read the output closed it. The program may use these
numbers too: --json tells them apart.
"""
_OUTPUT_CLOSED: Final = 141  # 128 and SIGPIPE: what a shell reports of a program whose reader has gone


def make_app() -> typer.Typer:
    """The command's application."""
    app = typer.Typer(rich_markup_mode=None, add_completion=False, pretty_exceptions_enable=False)
    app.command(cls=ProgramCommand, epilog=_EPILOG)(run)
    return app


def run(
    ctx: typer.Context,
    file: FileArgument = None,
    *,
    code: CodeOption = None,
    language: LanguageOption = None,
    backend: BackendOption = None,
    timeout: TimeoutOption = None,
    memory: MemoryOption = None,
    cpus: CpusOption = None,
    files: FilesOption = None,
    collect: CollectOption = None,
    output_dir: OutputDirOption = None,
    env: EnvOption = None,
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Run a program in a sandbox.

    What is piped into xagent is the program's standard input.
    """
    from xagent_core.cli.interrupt import run_interruptible
    from xagent_core.cli.save import save_files
    from xagent_core.cli.streams import OutputClosedError
    from xagent_core.config import load_settings
    from xagent_core.plugins import load_plugins

    if collect and output_dir is None and not as_json:
        raise typer.BadParameter("say where the files go, with --output-dir", ctx=ctx, param_hint="--collect")
    settings = load_settings()
    plugins = load_plugins(settings.disabled_plugins)
    request = program_request(
        ctx, settings, plugins, file=file, code=code, language=language, timeout=timeout, memory=memory, cpus=cpus,
        files=files, collect=collect, env=env,
    )  # fmt: skip
    try:
        result = run_interruptible(_execute(request, backend, settings, plugins, shown=not as_json))
    except OutputClosedError as error:
        raise typer.Exit(_OUTPUT_CLOSED) from error
    if collect and output_dir is not None:
        save_files(result.files, output_dir)
    if as_json:
        from pydantic import TypeAdapter

        print_json(TypeAdapter(type(result)).dump_python(result, mode="json"))
    raise typer.Exit(program_status(result))


async def _execute(
    request: ExecutionRequest, backend: str | None, settings: Settings, plugins: Plugins, *, shown: bool
) -> ExecutionResult:
    """Runs the request in a sandbox of its own.

    Raises:
        OutputClosedError: The output is shown, and its reader has gone; the program was killed.
        XAgentError: What the engine raises.
    """
    from xagent_core.engine import Engine

    # One program needs one sandbox, and none that stands by for a next.
    pool = replace(settings.pool, ready=0)
    async with Engine(backend, settings=settings, plugins=plugins, pool=pool) as engine:
        if not shown:
            return await engine.execute(request)
        result = await _show(engine, request)
        for line in _notes(engine.plan(request), request, result):
            note(line)
        return result


async def _show(engine: Engine, request: ExecutionRequest) -> ExecutionResult:
    """Runs the request and passes its output on as it comes."""
    import asyncio

    from xagent_core.cli.streams import Relay
    from xagent_core.types import FinishedEvent

    relay = Relay()

    async def feed() -> ExecutionResult:
        try:
            async with contextlib.aclosing(engine.stream(request)) as events:
                async for event in events:
                    if isinstance(event, FinishedEvent):
                        return event.result
                    relay.put(event)
        finally:
            relay.end()
        raise AssertionError("unreachable: a stream ends with a FinishedEvent")

    # A task of its own, so that the program meets its time limit also while our reader is slow.
    feeding = asyncio.create_task(feed())
    try:
        await relay.run()
        return await feeding
    finally:
        feeding.cancel()
        await asyncio.wait([feeding])


def _notes(planned: Plan, request: ExecutionRequest, result: ExecutionResult) -> Iterator[str]:
    """What a reader must know and cannot see in the program's own output."""
    from xagent_core.types import format_size

    ends = {
        "timeout": f"stopped at the time limit of {planned.limits.timeout:g} s",
        "out_of_memory": f"out of memory at the limit of {format_size(planned.spec.memory)}",
        "output_limit": f"stopped, for it wrote more than the output limit of {format_size(planned.limits.output)}",
        "killed": "killed",
    }
    if result.status in ends:
        yield ends[result.status] + (" while it was built" if result.phase == "build" else "")
    if result.unenforced:
        names = ", ".join(result.unenforced)
        yield f"{result.backend} cannot hold these default limits here: {names} (see `xagent doctor`)"
    if result.files_truncated:
        yield "not all files that match were collected"
    elif request.collect and not result.files:
        yield "no file was collected"
