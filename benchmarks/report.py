"""Writes the results as a page of the documentation."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from benchmarks.picture import picture
from benchmarks.results import Results
from benchmarks.targets import verdicts
from xagent_core.benchmark.measure import Latency

__all__ = ["write"]

_HEAD: Final = """# Performance

Written by `nox -s bench`; run it for figures of your own machine. Everything was measured side by side in one run,
round by round and in another order each time, so the ratios say more than the milliseconds. Each program prints one
line, so that what is measured is what a sandbox costs; its caller's waiting counts, from the call to the result.

*Pool full*: a sandbox stands by, the interpreter in it started. *Pool empty*: one is started for the job.
*Bare*: the machine's own interpreter or compiler, in no sandbox. p95 and p99 of few samples are the slowest ones.
"""

_ORDER: Final = ("python", "javascript", "bash", "typescript", "go")


def write(results: Results, page: Path) -> None:
    """Writes the page, and its picture beside it.

    Args:
        results: What was measured.
        page: The Markdown file.
    """
    drawing = page.with_suffix(".svg")
    lines = [_HEAD, *_warning(results), f"![Python's median latencies]({drawing.name})", ""]
    for section in (_targets, _reasons, _latencies, _sustained, _paces, _memory, _facts):
        lines += [*section(results), ""]
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text("\n".join(lines).rstrip() + "\n", "utf-8")
    drawing.write_text(picture(results), "utf-8")


def _warning(results: Results) -> Iterator[str]:
    """Says that others used the machine, which costs most where many processes take part in a start."""
    load, cores = results.facts.get("load average before", "0").split()[0], os.cpu_count() or 1
    if float(load) > cores:
        yield from (f"**The machine was busy with other work: its load average was {load} on {cores} cores.**", "")


def _targets(results: Results) -> Iterator[str]:
    yield from ("## Targets", "", "| target | measured | |", "|---|---|---|")
    for verdict in verdicts(results):
        yield f"| {verdict.target} | {verdict.measured} | {'met' if verdict.met else '**not met**'} |"


def _reasons(results: Results) -> Iterator[str]:
    """What keeps a target out of reach, by the same run's figures."""
    missed = " ".join(verdict.target for verdict in verdicts(results) if not verdict.met)
    reasons = [
        f"{cell.backend}, {cell.consumers} consumers: one execution costs {cell.cpu * 1000:.0f} ms of processor time, "
        f"one turn of the loop of {cell.against} {cell.rival_cpu * 1000:.0f} ms. With all processors busy that allows "
        f"{cell.rival_cpu / cell.cpu:.2f} times its rate."
        for cell in results.sustained
        if cell.consumers == 4 and f"{cell.backend}, 4 consumers: at least" in missed
    ]
    if "bash, pool full" in missed:
        reasons.append(
            "bash: it reads its script bit by bit, so it cannot be started before the script is known, as other "
            "interpreters are: its own start and the engine's stream are paid."
        )
    if "bubblewrap, pool empty" in missed:
        reasons.append(
            "bubblewrap, pool empty: the bare engine's row is a bwrap with the same control groups and the same filter "
            "that runs `echo`; ours has a shell in it, which reads the job and becomes the interpreter."
        )
    if reasons:
        yield from ("Where a target is not met:", "", *(f"- {reason}" for reason in reasons), "")
    for cell in results.sustained:
        if cell.against == "network disabled" and cell.consumers == 4:
            yield (
                "No target: beside an SDK loop with `network_disabled=True`, as xagent itself does, 4 consumers reach "
                f"{cell.ours / cell.rival:.2f} times its executions a second. That loop holds only memory and CPU."
            )


def _latencies(results: Results) -> Iterator[str]:
    yield "## One program, start to result"
    for language in _ORDER:
        bare = results.bare(language)
        rows = {key: latency for key, latency in results.latencies.items() if key[1] == language}
        if not rows:
            continue
        yield from ("", f"### {language}", "")
        yield "| engine | way | p50 ms | p95 ms | p99 ms | times bare | times the bare engine | samples |"
        yield "|---|---|--:|--:|--:|--:|--:|--:|"
        for (group, _, name), latency in sorted(rows.items(), key=lambda row: (row[0][0], row[1].p50)):
            raw = results.raw(group)
            columns = (
                *(f"{seconds * 1000:.1f}" for seconds in (latency.p50, latency.p95, latency.p99)),
                _ratio(latency, bare),
                _ratio(latency, raw),
            )
            yield f"| {group} | {name} | {' | '.join(columns)} | {latency.samples} |"
        for (group, failed, name), why in results.failures.items():
            if failed == language:
                yield f"| {group} | {name} | cannot run here: {why.replace('|', '/')} | | | | | |"


def _sustained(results: Results) -> Iterator[str]:
    yield from (
        "## Sustained executions of Python, each in a fresh sandbox",
        "",
        "The rival runs the same program as often as it can: on Docker, the SDK's create, start, wait, logs, remove,",
        "with `network_mode=none` as everybody writes it, or with `network_disabled=True`, as xagent itself does;",
        "on bubblewrap, a bare `bwrap` with the same namespaces, without limits and filter of system calls, and with.",
        "*Run* is what a job took once it had a sandbox: all the rest of its time it waited for one to be started.",
        "CPU is what the whole machine worked for one execution, the kernel's own threads included: what an execution",
        "costs at least where all processors are busy.",
        "",
        "| engine | rival | at once | xagent /s | rival /s | ratio | job p50 ms | p95 | p99 | run p50 | rival p50 "
        "| CPU ms | rival CPU |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    )
    for cell in sorted(results.sustained, key=lambda cell: (cell.backend, cell.against, cell.consumers)):
        job, run, rival = cell.job, cell.run, cell.rival_job
        if job and run and rival:
            columns = (job.p50, job.p95, job.p99, run.p50, rival.p50)
            waits = " | ".join(f"{seconds * 1000:.0f}" for seconds in columns)
            rates = f"{cell.ours:.1f} | {cell.rival:.1f} | {cell.ours / cell.rival:.2f}"
            costs = f"{cell.cpu * 1000:.0f} | {cell.rival_cpu * 1000:.0f}"
            yield f"| {cell.backend} | {cell.against} | {cell.consumers} | {rates} | {waits} | {costs} |"


def _paces(results: Results) -> Iterator[str]:
    cells = {(pace.backend, pace.language, pace.consumers): pace for pace in results.paces}
    counts = sorted({consumers for _, _, consumers in cells})
    yield from (
        "## Sustained executions of each language, each in a fresh sandbox",
        "",
        "For each number of programs at once, executions a second, and p50 and p95 of what callers waited, in ms.",
        "",
        f"| engine | language | {' | '.join(f'{consumers}: /s | p50 | p95' for consumers in counts)} |",
        f"|---|---|{'--:|' * 3 * len(counts)}",
    )
    for backend, language in dict.fromkeys(key[:2] for key in cells):
        figures = []
        for consumers in counts:
            pace = cells.get((backend, language, consumers))
            figures += (
                [f"{pace.rate:.1f}", f"{pace.job.p50 * 1000:.0f}", f"{pace.job.p95 * 1000:.0f}"] if pace else [""] * 3
            )
        yield f"| {backend} | {language} | {' | '.join(figures)} |"


def _memory(results: Results) -> Iterator[str]:
    yield from (
        "## A sandbox that stands by, and the end of an engine",
        "",
        "| engine | language | control group MiB | of it private MiB | engine's own process beside it, MiB |",
        "|---|---|--:|--:|--:|",
    )
    for found in results.footprints:
        outside = f"{found.outside / 2**20:.1f}" if found.outside else "none"
        figures = f"{found.usage / 2**20:.2f} | {found.rss / 2**20:.2f} | {outside}"
        yield f"| {found.backend} | {'only sh' if found.language == 'bash' else found.language} | {figures} |"
    yield ""
    for backend, seconds in results.closing.items():
        yield f"- Closing an engine with 20 sandboxes on {backend} took {seconds:.2f} s."
    for name, seconds in results.peers_closing.items():
        yield f"- Closing {name} took {seconds:.1f} s."


def _facts(results: Results) -> Iterator[str]:
    yield from ("## Machine, versions, and how", "", "| | |", "|---|---|")
    for name, value in results.facts.items():
        yield f"| {name} | {value} |"


def _ratio(latency: Latency, base: Latency | None) -> str:
    return f"{latency.p50 / base.p50:.2f}" if base else ""
