"""`xagent doctor`: what is installed and healthy, and what to do about the rest."""

from __future__ import annotations

import platform
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from xagent_core import __version__
from xagent_core.cli.report import JSON_OPTION, print_json, print_table, waiting

if TYPE_CHECKING:
    import asyncio

    from xagent_core.abc.language import Language
    from xagent_core.cli.survey import BackendReport
    from xagent_core.config import Settings
    from xagent_core.engine import Engine
    from xagent_core.plugins import Plugins
    from xagent_core.types import ExecutionResult

__all__ = ["make_app"]

# Tried at once, over all backends: more would only take the CPU from each other.
_AT_ONCE: Final = 2
# For one language on one backend. The first use may prepare something: Go's standard library takes minutes.
_SECONDS: Final = 300.0


def make_app() -> typer.Typer:
    """The command's application."""
    app = typer.Typer(rich_markup_mode=None, add_completion=False, pretty_exceptions_enable=False)
    app.command()(doctor)
    return app


def doctor(
    *,
    quick: Annotated[bool, typer.Option("--quick", help="Only look; run no program.")] = False,
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Say what is installed and healthy, and what to do about the rest.

    Every available backend runs a tiny program in every language. The exit status is 0 when at least one backend
    works and nothing is broken, else 1. What is merely not installed is not broken.
    """
    from xagent_core.cli.app import name_clashes
    from xagent_core.cli.interrupt import run_interruptible
    from xagent_core.config import load_settings
    from xagent_core.plugins import load_plugins

    settings = load_settings()
    plugins = load_plugins(settings.disabled_plugins)
    with waiting("Running a program in every language; what is used for the first time may take minutes."):
        backends = run_interruptible(_examine(plugins, settings, quick=quick))
    broken = [
        *map(str, plugins.failures),
        *name_clashes(plugins),
        *_unavailable(backends, broken=True),
        *_in_state(backends, "broken"),
    ]
    missing = _missing(backends, plugins)
    works = any(_works(backend, quick=quick) for backend in backends)
    healthy = works and not broken
    if as_json:
        print_json(
            {
                "healthy": healthy,
                "xagent": __version__,
                "python": platform.python_version(),
                "system": platform.platform(),
                "plugins": sorted({f"{plugin.distribution} {plugin.version}" for plugin in plugins.loaded}),
                "backends": backends,
                "broken": broken,
                "missing": missing,
            }
        )
    else:
        typer.echo(f"xagent {__version__}, Python {platform.python_version()}, {platform.platform()}")
        _print(backends)
        _print_lines("Broken:", broken)
        _print_lines("Not usable here:", missing)
        typer.echo("Healthy." if healthy else "Not healthy." if works else "Not healthy: no program can be run here.")
    raise typer.Exit(0 if healthy else 1)


async def _examine(plugins: Plugins, settings: Settings, *, quick: bool) -> list[dict[str, Any]]:
    """Each backend's document, with what became of each language on it."""
    import asyncio

    from xagent_core.cli.survey import close, survey

    places = asyncio.Semaphore(_AT_ONCE)

    async def examine(report: BackendReport) -> dict[str, Any]:
        run = report.usable and not quick
        return {
            **report.document(),
            "languages": await _try_languages(report, plugins, settings, places) if run else [],
        }

    reports = await survey(plugins, settings)
    await close(reports)
    return await asyncio.gather(*map(examine, reports))


async def _try_languages(
    report: BackendReport, plugins: Plugins, settings: Settings, places: asyncio.Semaphore
) -> list[dict[str, Any]]:
    """Runs a tiny program in every language."""
    import asyncio

    from xagent_core.engine import Engine
    from xagent_core.selection import get_backend

    # To look is not to fetch hundreds of megabytes.
    options = {"pull": False} if report.capabilities and report.capabilities.images else {}
    backend = get_backend(report.registration.name, plugins=plugins, settings=settings, **options)
    pool = replace(settings.pool, ready=0, most=_AT_ONCE)
    async with Engine(backend, settings=settings, plugins=plugins, pool=pool) as engine:
        return await asyncio.gather(*(_try_language(engine, language, places) for language in plugins.languages))


async def _try_language(engine: Engine, language: Language, places: asyncio.Semaphore) -> dict[str, Any]:
    import asyncio

    from xagent_core.errors import ImageNotFoundError, SandboxStartError, XAgentError

    state, detail, seconds = "broken", "", None
    try:
        async with places, asyncio.timeout(_SECONDS):
            result = await engine.execute(language.hello, language=language.name)
    except TimeoutError:
        detail = f"not done within {_SECONDS:g} s"
    except XAgentError as error:
        # A start that fails and names a remedy lacks something that can be installed.
        absent = isinstance(error, ImageNotFoundError | SandboxStartError) and error.fix
        state, detail = "missing" if absent else "broken", f"{error.cause}. {error.fix}".strip()
    else:
        seconds = round(result.execution_time, 3)
        if _said_hello(language, result):
            state = "ok"
        else:
            detail = f"{result.status} (exit code {result.exit_code}): {result.error.strip() or result.output.strip()}"
    return {"language": language.name, "state": state, "detail": detail, "seconds": seconds}


def _said_hello(language: Language, result: ExecutionResult) -> bool:
    if language.hello:
        return result.ok and result.output.strip() == "hello"
    # An empty program need not be a right one; that something read it is all it can tell. 126 and 127 are the
    # shell's: the language's program cannot be executed, or is not there.
    return result.status in ("success", "error") and result.exit_code not in (126, 127)


def _in_state(backends: list[dict[str, Any]], state: str) -> list[str]:
    return [
        f"{backend['name']}, {trial['language']}: {trial['detail']}"
        for backend in backends
        for trial in backend["languages"]
        if trial["state"] == state
    ]


def _unavailable(backends: list[dict[str, Any]], *, broken: bool) -> list[str]:
    return [
        f"{backend['name']}: {backend['detail']}. {backend['fix']}".strip()
        for backend in backends
        if not backend["available"] and backend["broken"] is broken
    ]


def _missing(backends: list[dict[str, Any]], plugins: Plugins) -> list[str]:
    """What would have to be installed or started to use more."""
    missing = [*_unavailable(backends, broken=False), *_in_state(backends, "missing")]
    if not backends:
        missing.append("no sandbox backend is installed. `pip install xagent-bubblewrap` needs no daemon.")
    if not list(plugins.languages):
        missing.append("no language is installed. `pip install xagent-lang-python`, for example.")
    return missing


def _works(backend: dict[str, Any], *, quick: bool) -> bool:
    """Whether a program ran there; without a trial, whether one can be expected to."""
    return backend["available"] and (quick or any(trial["state"] == "ok" for trial in backend["languages"]))


def _print(backends: list[dict[str, Any]]) -> None:
    usable = [backend for backend in backends if backend["available"]]
    for backend in usable:
        typer.echo(
            f"\n{backend['name']} {backend['version']} ({backend['distribution']}): {backend['detail']}".rstrip(": ")
        )
        for what, how in sorted(backend["capabilities"]["how"].items()):
            typer.echo(f"  {what}: {how}")
    trials = {backend["name"]: {trial["language"]: trial for trial in backend["languages"]} for backend in usable}
    languages = sorted({language for found in trials.values() for language in found})
    if languages:
        rows = [(language, *(_cell(found.get(language)) for found in trials.values())) for language in languages]
        print_table(("language", *trials), rows)


def _cell(trial: dict[str, Any] | None) -> str:
    if trial is None:
        return ""
    return f"ok, {trial['seconds']:.2f} s" if trial["state"] == "ok" else trial["state"]


def _print_lines(title: str, lines: list[str]) -> None:
    if lines:
        typer.echo(title)
    for line in lines:
        typer.echo(f"  {line}")
