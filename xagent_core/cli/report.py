"""Writes what commands have to say: tables for readers, one JSON document for programs, errors for both."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import typer

from xagent_core.errors import InvalidRequestError, UnknownPluginError, XAgentError

__all__ = ["JSON_OPTION", "exit_status", "note", "print_json", "print_table", "report_error", "waiting"]

JSON_OPTION: Any = typer.Option("--json", help="Print one JSON document on stdout, and nothing else.")

_WRONG_USAGE = 2
_XAGENT_FAILED = 125
# Where nobody looks at it, a table must not be folded to a width that nobody has.
_PIPE_WIDTH = 240


def exit_status(error: XAgentError) -> int:
    """2 where the caller asked for something that does not exist or cannot be, else 125."""
    return _WRONG_USAGE if isinstance(error, InvalidRequestError | UnknownPluginError) else _XAGENT_FAILED


def report_error(error: XAgentError, *, as_json: bool) -> None:
    """Prints an error: `{"error": {...}}` on stdout, or one line on stderr."""
    if as_json:
        parts = {"component": error.component, "cause": error.cause, "fix": error.fix}
        print_json({"error": {"type": type(error).__name__, **parts}})
    else:
        note(str(error))


def note(text: str) -> None:
    """One line on stderr, marked as ours, since the program writes there too."""
    typer.echo(f"xagent: {text}", err=True)


def waiting(text: str) -> AbstractContextManager[object]:
    """Shows on stderr, while something takes its time, that it does; only to a person."""
    if sys.stderr is None or not sys.stderr.isatty():
        return nullcontext()
    from rich.console import Console

    return Console(stderr=True).status(text)


def print_json(document: object) -> None:
    """Prints a JSON document on stdout. It is ASCII, so that names which are not UTF-8 survive as escapes."""
    typer.echo(json.dumps(document, indent=2))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Prints a table on stdout."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*columns, box=box.SIMPLE_HEAD, pad_edge=False)
    for row in rows:
        table.add_row(*map(Text, row))
    seen = sys.stdout is not None and sys.stdout.isatty()
    Console(width=None if seen else _PIPE_WIDTH).print(table)
