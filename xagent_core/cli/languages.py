"""`xagent languages`: what programs can be written in."""

from __future__ import annotations

from typing import Annotated

import typer

from xagent_core.cli.report import JSON_OPTION, print_json, print_table

__all__ = ["make_app"]


def make_app() -> typer.Typer:
    """The command's application."""
    app = typer.Typer(rich_markup_mode=None, add_completion=False, pretty_exceptions_enable=False)
    app.command()(languages)
    return app


def languages(*, as_json: Annotated[bool, JSON_OPTION] = False) -> None:
    """List the languages that installed plugins provide."""
    from xagent_core.config import load_settings
    from xagent_core.plugins import load_plugins

    catalogue = load_plugins(load_settings().disabled_plugins).languages
    if as_json:
        print_json(
            [
                {
                    "name": language.name,
                    "summary": language.summary,
                    "aliases": language.aliases,
                    "extensions": language.extensions,
                    "image": language.image,
                    "distribution": catalogue.distribution(language.name),
                }
                for language in catalogue
            ]
        )
        return
    print_table(
        ("language", "aliases", "extensions", "distribution"),
        [
            (
                language.name,
                ", ".join(language.aliases),
                " ".join(language.extensions),
                catalogue.distribution(language.name),
            )
            for language in catalogue
        ],
    )
