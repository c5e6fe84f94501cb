"""`xagent run`: one program, in one sandbox, as if it ran here."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from typer.core import TyperCommand

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
_ARGUMENTS: Final = "xagent.arguments"
_OUTPUT_CLOSED: Final = 141  # 128 and SIGPIPE: what a shell reports of a program whose reader has gone


class _Run(TyperCommand):
    """Takes the program's arguments from behind `--`, so that no option of ours is ever mistaken for one of them."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        at = args.index("--") if "--" in args else len(args)
        ctx.meta[_ARGUMENTS] = tuple(args[at + 1 :])
        return super().parse_args(ctx, args[:at])

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        return [*super().collect_usage_pieces(ctx), "[-- ARGUMENTS...]"]


def make_app() -> typer.Typer:
    """The command's application."""
    app = typer.Typer(rich_markup_mode=None, add_completion=False, pretty_exceptions_enable=False)
    app.command(cls=_Run, epilog=_EPILOG)(run)
    return app


def run(
    ctx: typer.Context,
    file: Annotated[
        str | None, typer.Argument(metavar="FILE|-", help="The program; - reads it from stdin.", show_default=False)
    ] = None,
    *,
    code: Annotated[str | None, typer.Option(help="The program itself, instead of FILE.")] = None,
    language: Annotated[
        str | None, typer.Option("--language", "-l", help="By default FILE's extension says it; else it is python.")
    ] = None,
    backend: Annotated[
        str | None, typer.Option("--backend", "-b", help="A backend's name, or auto for the best that answers.")
    ] = None,
    timeout: Annotated[float | None, typer.Option(help="Seconds for build and run together.")] = None,
    memory: Annotated[str | None, typer.Option(help="For example 256m or 1g.")] = None,
    cpus: Annotated[float | None, typer.Option(help="CPUs; 0.5 is half of one.")] = None,
    files: Annotated[
        list[str] | None,
        typer.Option(
            "--file",
            "-f",
            metavar="LOCAL[:PATH]",
            help="Put a file into the program's working directory, as PATH or under its own name. Repeatable.",
        ),
    ] = None,
    collect: Annotated[
        list[str] | None,
        typer.Option(metavar="GLOB", help="Bring back matching files; needs --output-dir or --json. Repeatable."),
    ] = None,
    output_dir: Annotated[
        Path | None,
        typer.Option("--output-dir", "-o", help="Where collected files are written; existing ones are replaced."),
    ] = None,
    env: Annotated[
        list[str] | None,
        typer.Option("--env", "-e", metavar="NAME[=VALUE]", help="Without a value, your own is passed. Repeatable."),
    ] = None,
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Run a program in a sandbox.

    What is piped into xagent is the program's standard input.
    """
    from xagent_core.cli.given import environment, input_file, language_of, own_input, room, source
    from xagent_core.cli.interrupt import run_interruptible
    from xagent_core.cli.save import save_files
    from xagent_core.cli.streams import OutputClosedError
    from xagent_core.config import load_settings
    from xagent_core.plugins import load_plugins
    from xagent_core.request import make_request

    if (file is None) == (code is None):
        raise typer.BadParameter("give one of them", ctx=ctx, param_hint="FILE or --code")
    if collect and output_dir is None and not as_json:
        raise typer.BadParameter("say where the files go, with --output-dir", ctx=ctx, param_hint="--collect")
    settings = load_settings()
    plugins = load_plugins(settings.disabled_plugins)
    name = language or (language_of(Path(file), plugins) if file is not None and file != "-" else "python")
    most = room(plugins, settings, name)
    request = make_request(
        source(file or "", most=most) if code is None else code,
        language=name,
        timeout=timeout,
        memory_limit=memory,
        cpu_limit=cpus,
        stdin=b"" if file == "-" else own_input(most=most),
        args=ctx.meta[_ARGUMENTS],
        env=environment(env or (), os.environ),
        files=[input_file(text, most=most) for text in files or ()],
        collect=collect or (),
    )
    try:
        result = run_interruptible(_execute(request, backend, settings, plugins, shown=not as_json))
    except OutputClosedError as error:
        raise typer.Exit(_OUTPUT_CLOSED) from error
    if collect and output_dir is not None:
        save_files(result.files, output_dir)
    if as_json:
        from pydantic import TypeAdapter

        print_json(TypeAdapter(type(result)).dump_python(result, mode="json"))
    raise typer.Exit(_status(result))


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
    ends = {
        "timeout": f"stopped at the time limit of {planned.limits.timeout:g} s",
        "out_of_memory": f"out of memory at the limit of {planned.spec.memory / 2**20:g} MiB",
        "output_limit": f"stopped, for it wrote more than the output limit of {planned.limits.output} bytes",
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


def _status(result: ExecutionResult) -> int:
    if result.status == "timeout":
        return 124
    if result.status in ("out_of_memory", "killed", "output_limit"):
        return 137
    return 1 if result.exit_code is None else result.exit_code
