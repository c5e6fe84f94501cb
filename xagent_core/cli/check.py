"""`xagent plugins check`: whether an installed plugin keeps the contracts of what it registers."""

from __future__ import annotations

import os
import sys
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xagent_core.cli.interrupt import interruptible, run_interruptible
from xagent_core.cli.report import JSON_OPTION, note, print_json, print_table

if TYPE_CHECKING:
    from xagent_core.queueing.queue import TaskQueue
    from xagent_core.testing.check import Checked, Subject

__all__ = ["check"]


def check(
    name: Annotated[str, typer.Argument(help="A distribution, an entry point, a backend, language, tool or queue.")],
    *,
    backend: Annotated[str, typer.Option(help="Run languages on this backend only.", metavar="NAME")] = "",
    url: Annotated[str, typer.Option(help="The server of queues.", metavar="URL")] = "",
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Run the conformance suites over what an installed plugin registers.

    Results are on stderr as they come. The exit status is 1 when a test failed or none could be run. Needs the extra
    `testing`.
    """
    from xagent_core.config import load_settings
    from xagent_core.errors import PluginError
    from xagent_core.plugins import load_plugins
    from xagent_core.queueing.selection import get_queue

    try:
        from xagent_core.testing.check import find_subjects, run_suites
    except ImportError as error:
        raise PluginError(
            "plugins check", f"a dependency is missing: {error}", "pip install 'xagent-core[testing]'"
        ) from error

    settings = load_settings()
    plugins = load_plugins(settings.disabled_plugins)
    # What is not there is one error now, and not one of every test.
    backend = backend and plugins.backends[backend].name
    subjects = [_with_options(subject, backend=backend, url=url) for subject in find_subjects(plugins, name)]
    for subject in subjects:
        if subject.kind == "queue":
            run_interruptible(_ask(get_queue(subject.name, url=url or None, settings=settings, plugins=plugins)))
    note(f"running the suites of {', '.join(map(str, subjects))}")
    # While they run, pytest has taken the descriptor of stderr.
    with os.fdopen(os.dup(sys.stderr.fileno()), "w", encoding="utf-8", errors="replace") as out, interruptible():
        checked = run_suites(subjects, tell=lambda test: print(_line(test), file=out, flush=True))
    counts = Counter(test.result for test in checked)
    if as_json:
        print_json(_document(name, checked))
    else:
        _print(subjects, checked)
    raise typer.Exit(1 if counts["failed"] or not counts["passed"] else 0)


async def _ask(queue: TaskQueue) -> None:
    async with queue:
        await queue.stats()


def _line(test: Checked) -> str:
    return f"xagent: {test.result}: {test.subject}: {test.test} ({test.seconds:.2f} s)"


def _with_options(subject: Subject, *, backend: str, url: str) -> Subject:
    if subject.kind == "language" and backend:
        return replace(subject, fixtures={"backend": backend})
    if subject.kind == "queue":
        return replace(subject, fixtures={"queue": (subject.name, {"url": url} if url else {})})
    return subject


def _document(name: str, checked: list[Checked]) -> dict[str, Any]:
    tests = [
        {
            "kind": test.subject.kind,
            "name": test.subject.name,
            "distribution": test.subject.distribution,
            "test": test.test,
            "result": test.result,
            "reason": test.reason,
            "seconds": test.seconds,
        }
        for test in checked
    ]
    return {"plugin": name, "ok": all(test.result != "failed" for test in checked), "tests": tests}


def _print(subjects: list[Subject], checked: list[Checked]) -> None:
    for subject in subjects:
        own = [test for test in checked if test.subject == subject]
        typer.echo(f"{subject} ({subject.distribution})")
        print_table(("test", "result", "seconds"), [(test.test, test.result, f"{test.seconds:.2f}") for test in own])
        for result in ("skipped", "failed"):
            tests: dict[str, list[str]] = {}  # by reason: an engine that is missing is told once
            for test in own:
                if test.result == result:
                    tests.setdefault(test.reason, []).append(test.test)
            for reason, names in tests.items():
                typer.echo(f"{result}: {'; '.join(names)}\n    {reason.replace(chr(10), chr(10) + '    ')}")
        counts = Counter(test.result for test in own)
        typer.echo(", ".join(f"{counts[result]} {result}" for result in ("passed", "failed", "skipped")))
