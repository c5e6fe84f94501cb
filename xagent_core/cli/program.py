"""The options that say what program is to run, and under which limits: `run` and `submit` share them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from typer.core import TyperCommand

if TYPE_CHECKING:
    from xagent_core.config import Settings
    from xagent_core.plugins import Plugins
    from xagent_core.types import ExecutionRequest, ExecutionResult

__all__ = [
    "BackendOption",
    "CodeOption",
    "CollectOption",
    "CpusOption",
    "EnvOption",
    "FileArgument",
    "FilesOption",
    "LanguageOption",
    "MemoryOption",
    "OutputDirOption",
    "ProgramCommand",
    "TimeoutOption",
    "program_arguments",
    "program_request",
    "program_status",
]

FileArgument = Annotated[
    str | None, typer.Argument(metavar="FILE|-", help="The program; - reads it from stdin.", show_default=False)
]
CodeOption = Annotated[str | None, typer.Option("--code", help="The program itself, instead of FILE.")]
LanguageOption = Annotated[
    str | None, typer.Option("--language", "-l", help="By default FILE's extension says it; else it is python.")
]
BackendOption = Annotated[
    str | None, typer.Option("--backend", "-b", help="A backend's name, or auto for the best that answers.")
]
TimeoutOption = Annotated[float | None, typer.Option("--timeout", help="Seconds for build and run together.")]
MemoryOption = Annotated[str | None, typer.Option("--memory", help="For example 256m or 1g.")]
CpusOption = Annotated[float | None, typer.Option("--cpus", help="CPUs; 0.5 is half of one.")]
FilesOption = Annotated[
    list[str] | None,
    typer.Option(
        "--file",
        "-f",
        metavar="LOCAL[:PATH]",
        help="Put a file into the program's working directory, as PATH or under its own name. Repeatable.",
    ),
]
CollectOption = Annotated[
    list[str] | None,
    typer.Option(
        "--collect", metavar="GLOB", help="Bring back matching files; needs --output-dir or --json. Repeatable."
    ),
]
OutputDirOption = Annotated[
    Path | None,
    typer.Option("--output-dir", "-o", help="Where collected files are written; existing ones are replaced."),
]
EnvOption = Annotated[
    list[str] | None,
    typer.Option("--env", "-e", metavar="NAME[=VALUE]", help="Without a value, your own is passed. Repeatable."),
]

_ARGUMENTS: Final = "xagent.arguments"


class ProgramCommand(TyperCommand):
    """Takes the program's arguments from behind `--`, so that no option of ours is ever mistaken for one of them."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Keeps what stands behind `--` for `program_request`."""
        at = args.index("--") if "--" in args else len(args)
        ctx.meta[_ARGUMENTS] = tuple(args[at + 1 :])
        return super().parse_args(ctx, args[:at])

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """The usage line, with the program's arguments."""
        return [*super().collect_usage_pieces(ctx), "[-- ARGUMENTS...]"]


def program_arguments(ctx: typer.Context) -> tuple[str, ...]:
    """What stands behind `--`."""
    arguments: tuple[str, ...] = ctx.meta[_ARGUMENTS]
    return arguments


def program_request(
    ctx: typer.Context,
    settings: Settings,
    plugins: Plugins,
    *,
    file: str | None,
    code: str | None,
    language: str | None,
    timeout: float | None,
    memory: str | None,
    cpus: float | None,
    files: list[str] | None,
    collect: list[str] | None,
    env: list[str] | None,
) -> ExecutionRequest:
    """What the options ask for; what is piped into xagent is the program's input.

    Raises:
        InvalidRequestError: A value cannot be used.
        typer.BadParameter: There is no program, there are two, or a file cannot be read.
    """
    from xagent_core.cli.given import environment, input_file, language_of, own_input, room, source
    from xagent_core.request import make_request

    if (file is None) == (code is None):
        raise typer.BadParameter("give one of them", ctx=ctx, param_hint="FILE or --code")
    name = language or (language_of(Path(file), plugins) if file is not None and file != "-" else "python")
    most = room(plugins, settings, name)
    return make_request(
        source(file or "", most=most) if code is None else code,
        language=name,
        timeout=timeout,
        memory_limit=memory,
        cpu_limit=cpus,
        stdin=b"" if file == "-" else own_input(most=most),
        args=program_arguments(ctx),
        env=environment(env or (), os.environ),
        files=[input_file(text, most=most) for text in files or ()],
        collect=collect or (),
    )


def program_status(result: ExecutionResult) -> int:
    """The exit status that stands for a result; see the epilogue of `xagent run --help`."""
    if result.status == "timeout":
        return 124
    if result.status in ("out_of_memory", "killed", "output_limit"):
        return 137
    return 1 if result.exit_code is None else result.exit_code
