"""`xagent bench`: what running a program costs on this machine, beside the bare interpreters."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from xagent_core.cli.report import JSON_OPTION, note, print_json, print_table, waiting

if TYPE_CHECKING:
    from collections.abc import Iterator

    from xagent_core.abc.language import Language
    from xagent_core.benchmark.measure import Key, Latency
    from xagent_core.benchmark.subjects import Sample, Subject
    from xagent_core.config import Settings
    from xagent_core.plugins import Plugins

__all__ = ["make_app"]

_CONSUMERS: Final = (1, 4, 16)


def make_app() -> typer.Typer:
    """The command's application."""
    app = typer.Typer(rich_markup_mode=None, add_completion=False, pretty_exceptions_enable=False)
    app.command()(bench)
    return app


def bench(
    *,
    backend: Annotated[list[str] | None, typer.Option(help="Only this one; may be repeated.")] = None,
    language: Annotated[list[str] | None, typer.Option(help="Only this one; may be repeated.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds; more make finer percentiles.")] = 20,
    seconds: Annotated[float, typer.Option(min=0, help="Of each sustained load; 0 leaves it out.")] = 3.0,
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Measure what running a program costs on this machine.

    Each language's own hello program runs with a sandbox that stands by (pool full), with none (pool empty), and in
    no sandbox, round by round in another order each time: the ratios say more than the milliseconds.
    """
    import os

    from xagent_core.cli.interrupt import run_interruptible
    from xagent_core.config import load_settings
    from xagent_core.plugins import load_plugins

    settings = load_settings()
    plugins = load_plugins(settings.disabled_plugins)
    with waiting("measuring"):
        document = run_interruptible(_measure(plugins, settings, backend, language, rounds=rounds, seconds=seconds))
    document["load average"] = os.getloadavg()[0]
    if as_json:
        print_json(document)
    else:
        _print(document)


async def _measure(
    plugins: Plugins,
    settings: Settings,
    backends: list[str] | None,
    languages: list[str] | None,
    *,
    rounds: int,
    seconds: float,
) -> dict[str, Any]:
    from xagent_core.benchmark.engines import Pooled, Unpooled
    from xagent_core.benchmark.measure import measure
    from xagent_core.benchmark.subjects import Sample
    from xagent_core.cli.survey import close, survey
    from xagent_core.errors import BackendUnavailableError

    if backends is None:
        reports = await survey(plugins, settings)
        await close(reports)
        backends = [report.registration.name for report in reports if report.probe.available]
    if not backends:
        raise BackendUnavailableError("bench", "no backend can be used here", "`xagent doctor` says why.")
    # Only a language with a program of its own can be seen to have run it.
    chosen = [plugins.languages[name] for name in languages] if languages else list(plugins.languages)
    samples = {item.name: Sample(item.name, item.hello, "hello") for item in chosen if item.hello}
    subjects: list[Subject] = [*_bare(chosen, samples)]
    for name in backends:
        for sample in samples.values():
            subjects += [Pooled(name, sample), Unpooled(name, sample, every=3)]
    latencies, failures = await measure(subjects, rounds=rounds)
    return {
        "latencies": [_row(key, found, latencies) for key, found in latencies.items()],
        "failures": [
            {"engine": group, "language": language, "way": way, "cause": cause}
            for (group, language, way), cause in failures.items()
        ],
        "sustained": await _sustained(backends, samples, latencies, seconds=seconds),
    }


def _bare(languages: list[Language], samples: dict[str, Sample]) -> Iterator[Subject]:
    """The same programs without a sandbox, where the interpreter is installed; what is built first has no one word."""
    from xagent_core.benchmark.subjects import Bare

    for language in languages:
        program = shutil.which(language.run[0])
        if program and not language.build and language.name in samples:
            source = language.source_name or f"main{language.extensions[0]}"
            argv = (program, *(word.replace("{source}", source) for word in language.run[1:]))
            yield Bare(samples[language.name], source, argv)


def _row(key: Key, found: Latency, latencies: dict[Key, Latency]) -> dict[str, Any]:
    group, language, way = key
    bare = next((other for (kind, name, _), other in latencies.items() if (kind, name) == ("bare", language)), None)
    return {
        "engine": group,
        "language": language,
        "way": way,
        **{f"{name} ms": round(getattr(found, name) * 1000, 2) for name in ("p50", "p95", "p99")},
        "times bare": None if bare is None else round(found.p50 / bare.p50, 2),
        "samples": found.samples,
    }


async def _sustained(
    backends: list[str], samples: dict[str, Sample], latencies: dict[Key, Latency], *, seconds: float
) -> list[dict[str, Any]]:
    """Executions a second in fresh sandboxes, of the first language that ran on a backend."""
    import time

    from xagent_core.benchmark.engines import check, consume, pool_for
    from xagent_core.benchmark.measure import latency_of
    from xagent_core.engine import Engine

    found: list[dict[str, Any]] = []
    for backend in backends:
        ran = [language for kind, language, _ in latencies if kind == backend]
        if not ran or not seconds:
            continue
        sample = samples[ran[0]]
        for consumers in _CONSUMERS:
            async with Engine(backend, pool=pool_for(consumers)) as engine:

                async def job(engine: Engine = engine, sample: Sample = sample) -> float:
                    began = time.perf_counter()
                    check(await engine.execute(sample.code, language=sample.language), sample)
                    return time.perf_counter() - began

                # The pool is in its stride before time is taken.
                await consume(job, consumers, min(1.0, seconds / 3))
                taken, elapsed = await consume(job, consumers, seconds)
            waits = latency_of(taken)
            found.append(
                {
                    "engine": backend,
                    "language": sample.language,
                    "at once": consumers,
                    "a second": round(len(taken) / elapsed, 1),
                    "p50 ms": round(waits.p50 * 1000, 1),
                    "p95 ms": round(waits.p95 * 1000, 1),
                }
            )
    return found


def _print(document: dict[str, Any]) -> None:
    order = sorted(document["latencies"], key=lambda row: (row["language"], row["p50 ms"]))
    for rows in (order, document["sustained"]):
        if rows:
            print_table(tuple(rows[0]), [["" if cell is None else str(cell) for cell in row.values()] for row in rows])
    for failure in document["failures"]:
        note(f"{failure['engine']}, {failure['language']}, {failure['way']}: {failure['cause']}")
