"""Puts the command line together: what is built in and what plugins register, each imported when it is used."""

from __future__ import annotations

import errno
import importlib
import sys
import traceback
from collections.abc import Callable
from functools import cached_property, partial
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from typer.core import TyperCommand, TyperGroup

from xagent_core import __version__
from xagent_core.cli.report import exit_status, report_error
from xagent_core.errors import PluginError, XAgentError

if TYPE_CHECKING:
    from xagent_core.abc.command import CommandRegistration
    from xagent_core.plugins import Plugins

__all__ = ["BUILT_IN", "make_app", "name_clashes"]

BUILT_IN: Final = {
    "run": "Run a program in a sandbox.",
    "submit": "Hand a program to the workers of a task queue.",
    "jobs": "See what became of jobs; cancel and requeue them.",
    "queue": "Show how a task queue and its workers do.",
    "worker": "Run the jobs of a task queue.",
    "backends": "List the sandbox backends and what each holds on this machine.",
    "languages": "List the languages.",
    "plugins": "List what is installed, and what is broken and why.",
    "bench": "Measure what running a program costs on this machine.",
    "doctor": "Say what is healthy, and what to do about the rest.",
    "clean": "Remove the sandboxes that dead processes left behind.",
}
"""Commands and their summaries. Each is a module of this package, whose `make_app` is the command's factory."""


_OUTPUT: Final = "output"


class LazyCommand(TyperCommand):
    """A command of which only name and summary are known until it is used.

    Args:
        name: What users type.
        summary: One line.
        factory: Makes its application.
        provider: The distribution that an error blames.
    """

    def __init__(self, name: str, summary: str, factory: Callable[[], typer.Typer], provider: str) -> None:
        super().__init__(name, help=summary, rich_markup_mode=None)
        self._factory = factory
        self._provider = provider

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """Loads the command, and goes on with it in place of this one."""
        return self._load().make_context(info_name, args, parent, **extra)

    def _load(self) -> Any:
        # This is the plugin loader of commands: a third party's factory may fail in any way.
        try:
            return typer.main.get_command(self._factory())
        except Exception as error:
            raise PluginError(
                f"command {self.name}",
                f"{self._provider} cannot provide it: {type(error).__name__}: {error}",
                f"Reinstall or upgrade it: pip install --upgrade {self._provider}",
            ) from error


class Commands(TyperGroup):
    """The commands by name; plugins are only looked at when a name is not built in, or all are listed."""

    @cached_property
    def plugins(self) -> Plugins:
        """What is installed.

        Raises:
            ConfigError: The settings, which may switch plugins off, cannot be read.
        """
        from xagent_core.config import load_settings
        from xagent_core.plugins import load_plugins

        return load_plugins(load_settings().disabled_plugins)

    def __init__(self, **attrs: Any) -> None:
        super().__init__(**attrs)
        for name, summary in BUILT_IN.items():
            self.add_command(LazyCommand(name, summary, partial(_built_in, name), "xagent-core"))

    def list_commands(self, ctx: Any) -> list[str]:
        """Names of all commands, those of plugins last."""
        self._add_plugin_commands()
        return super().list_commands(ctx)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of that name, not loaded yet; None where there is none.

        Raises:
            DuplicatePluginError: Two distributions provide it.
        """
        if cmd_name not in self.commands:
            self._add_plugin_commands()
            if cmd_name in self.plugins.commands:
                return self._lazy(self.plugins.commands[cmd_name])
        return super().get_command(ctx, cmd_name)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that the words begin with.

        Raises:
            UnknownPluginError: There is none; plugins bring commands, so it says which could not be loaded.
            DuplicatePluginError: Two distributions provide it.
        """
        if self.get_command(ctx, args[0]) is None and not ctx.resilient_parsing:
            hint = "Commands come from plugins, too: see `xagent plugins list`."
            raise self.plugins.commands.unknown(args[0], built_in=BUILT_IN, hint=hint)
        return super().resolve_command(ctx, args)

    def _add_plugin_commands(self) -> None:
        for command in self.plugins.commands:
            if command.name not in self.commands:
                self.add_command(self._lazy(command))

    def _lazy(self, command: CommandRegistration) -> LazyCommand:
        distribution = self.plugins.commands.distribution(command.name)
        return LazyCommand(command.name, command.summary, command.factory, distribution)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Says at the end of `xagent --help` when something that is installed cannot be used."""
        super().format_epilog(ctx, formatter)
        if count := len(self.plugins.failures) + len(name_clashes(self.plugins)):
            formatter.write_paragraph()
            formatter.write_text(f"Plugins that cannot be used: {count}. See `xagent plugins list`.")

    def main(self, args: Any = None, *rest: Any, **extra: Any) -> Any:
        """Runs a command; an error of xagent goes to stderr, or with `--json` to stdout, and sets the status."""
        words = sys.argv[1:] if args is None else list(args)
        try:
            return super().main(words, *rest, **extra)
        # Python would exit with 1, and `xagent run` promises that this is the program's own status.
        except Exception as error:
            reported = _reported(error)
            as_json = "--json" in _before_double_dash(words) and reported.component != _OUTPUT
            report_error(reported, as_json=as_json)
            raise SystemExit(exit_status(reported)) from error


def _reported(error: Exception) -> XAgentError:
    """What a user is told of an error; a bug is shown with its traceback."""
    if isinstance(error, XAgentError):
        return error
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
        return XAgentError(_OUTPUT, f"it cannot be written: {error.strerror}")
    traceback.print_exception(error)
    return XAgentError("bug", f"{type(error).__name__}: {error}", "Please report it.")


def name_clashes(plugins: Plugins) -> list[str]:
    """One line for each name that is provided more than once; a built-in command keeps its name."""
    shadowed = [
        f"command {command.name} is provided by xagent-core and by {plugins.commands.distribution(command.name)}"
        for command in plugins.commands
        if command.name in BUILT_IN
    ]
    return [*plugins.duplicates(), *shadowed]


def _before_double_dash(words: list[str]) -> list[str]:
    return words[: words.index("--")] if "--" in words else words


def _built_in(name: str) -> typer.Typer:
    app: typer.Typer = importlib.import_module(f"xagent_core.cli.{name}").make_app()
    return app


def _show_version(wanted: bool) -> None:  # noqa: FBT001 - an option's callback
    if wanted:
        typer.echo(f"xagent {__version__}")
        raise typer.Exit


def _root(
    *,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", is_eager=True, callback=_show_version)
    ] = False,
) -> None:
    """Run code that nobody trusts, in a sandbox."""


def make_app() -> typer.Typer:
    """The whole command line."""
    # Plain help: rich would double the time that `--help` takes.
    app = typer.Typer(name="xagent", cls=Commands, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.callback(no_args_is_help=True)(_root)
    return app
