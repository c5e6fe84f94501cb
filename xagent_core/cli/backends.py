"""`xagent backends`: what can make sandboxes here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from xagent_core.cli.report import JSON_OPTION, print_json, print_table

if TYPE_CHECKING:
    from xagent_core.config import Settings
    from xagent_core.plugins import Plugins

__all__ = ["make_app", "print_backends"]


def make_app() -> typer.Typer:
    """The command's application."""
    app = typer.Typer(rich_markup_mode=None, add_completion=False, pretty_exceptions_enable=False)
    app.command()(backends)
    return app


def backends(*, as_json: Annotated[bool, JSON_OPTION] = False) -> None:
    """List the sandbox backends and what each holds on this machine; `auto` takes the first that is available."""
    from xagent_core.cli.interrupt import run_interruptible
    from xagent_core.config import load_settings
    from xagent_core.plugins import load_plugins

    settings = load_settings()
    found = run_interruptible(_survey(load_plugins(settings.disabled_plugins), settings))
    if as_json:
        print_json(found)
    else:
        print_backends(found)


def print_backends(documents: list[dict[str, Any]]) -> None:
    """Prints a table of backends, and below it what is the matter with those that cannot be used."""
    print_table(
        ("backend", "distribution", "available", "version", "holds"),
        [
            (
                backend["name"],
                backend["distribution"],
                "yes" if backend["available"] else "no",
                backend["version"],
                ", ".join((backend["capabilities"] or {}).get("limits", ())),
            )
            for backend in documents
        ],
    )
    for backend in documents:
        if not backend["available"]:
            typer.echo(" ".join(filter(None, (f"{backend['name']}: {backend['detail']}.", backend["fix"]))))


async def _survey(plugins: Plugins, settings: Settings) -> list[dict[str, Any]]:
    from xagent_core.cli.survey import close, survey

    reports = await survey(plugins, settings)
    await close(reports)
    return [report.document() for report in reports]
