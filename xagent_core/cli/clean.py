"""`xagent clean`: removes what dead owners left behind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from xagent_core.cli.report import JSON_OPTION, note, print_json

if TYPE_CHECKING:
    from xagent_core.config import Settings
    from xagent_core.plugins import Plugins

__all__ = ["make_app"]


def make_app() -> typer.Typer:
    """The command's application."""
    app = typer.Typer(rich_markup_mode=None, add_completion=False, pretty_exceptions_enable=False)
    app.command()(clean)
    return app


def clean(*, as_json: Annotated[bool, JSON_OPTION] = False) -> None:
    """Remove the sandboxes whose owner is dead or whose deadline has passed, on every available backend.

    Sandboxes of other processes that live are never touched. A backend that cannot be used is named, for what it may
    hold was not looked at. The exit status is 125 when a backend failed.
    """
    from xagent_core.cli.interrupt import run_interruptible
    from xagent_core.config import load_settings
    from xagent_core.plugins import load_plugins

    settings = load_settings()
    removed, unusable, failed = run_interruptible(_reap(load_plugins(settings.disabled_plugins), settings))
    if as_json:
        print_json({"removed": removed, "not_looked_at": unusable, "failed": failed})
    else:
        for backend, lines in removed.items():
            for line in lines or ["nothing to remove"]:
                typer.echo(f"{backend}: {line}")
        if not removed and not unusable:
            typer.echo("No backend is installed: nothing to remove.")
        for backend, why in unusable.items():
            note(f"{backend}: not looked at, since it cannot be used: {why}")
        for line in failed:
            note(line)
    raise typer.Exit(125 if failed else 0)


async def _reap(plugins: Plugins, settings: Settings) -> tuple[dict[str, list[str]], dict[str, str], list[str]]:
    """What was removed, by backend; which backends cannot be used, and why; and what went wrong."""
    from xagent_core.cli.survey import close, survey
    from xagent_core.errors import XAgentError

    removed: dict[str, list[str]] = {}
    unusable: dict[str, str] = {}
    failed: list[str] = []
    reports = await survey(plugins, settings)
    try:
        for report in reports:
            name = report.registration.name
            if report.backend is None or not report.usable:
                unusable[name] = report.probe.detail
                continue
            try:
                removed[name] = await report.backend.reap()
            except XAgentError as error:
                failed.append(str(error))
    finally:
        await close(reports)
    return removed, unusable, failed
