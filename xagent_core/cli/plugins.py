"""`xagent plugins`: what is installed, what of it cannot be used, and what keeps its contract."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from xagent_core.cli.check import check
from xagent_core.cli.report import JSON_OPTION, print_json, print_table

__all__ = ["make_app"]


def make_app() -> typer.Typer:
    """The command's application."""
    app = typer.Typer(rich_markup_mode=None, add_completion=False, pretty_exceptions_enable=False)
    # With a callback, the application stays a group of commands, even of one.
    app.callback(
        no_args_is_help=True,
        help="List what is installed and what is broken and why, and check what keeps its contract.",
    )(lambda: None)
    app.command("list")(list_plugins)
    app.command("check")(check)
    return app


def list_plugins(*, as_json: Annotated[bool, JSON_OPTION] = False) -> None:
    """List every plugin: what provides it, what it provides, and what is broken and why.

    The exit status is 0 whatever is broken; `xagent doctor` is the one that judges.
    """
    from xagent_core.cli.app import name_clashes
    from xagent_core.config import load_settings
    from xagent_core.plugins import load_plugins

    plugins = load_plugins(load_settings().disabled_plugins)
    clashes = name_clashes(plugins)
    if as_json:
        print_json(
            {
                "plugins": [asdict(plugin) for plugin in plugins.loaded],
                "broken": [asdict(failure) for failure in plugins.failures],
                "duplicates": clashes,
                "disabled": plugins.disabled,
            }
        )
        return
    print_table(
        ("distribution", "version", "entry point", "provides"),
        [(plugin.distribution, plugin.version, plugin.name, ", ".join(plugin.provides)) for plugin in plugins.loaded],
    )
    for title, lines in (
        ("Broken", [str(failure) for failure in plugins.failures]),
        ("Provided more than once, and so not used", clashes),
        ("Switched off", plugins.disabled),
    ):
        if lines:
            typer.echo(f"{title}:")
            for line in lines:
                typer.echo(f"  {line}")
