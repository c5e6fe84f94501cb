"""Writes the measured tables into the page of the evaluation; its words are written by hand."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

__all__ = ["write"]

_BEGIN: Final = "<!-- measured: written by `nox -s bench_queues` -->"
_END: Final = "<!-- end of what was measured -->"


def write(results: dict[str, Any], page: Path) -> None:
    """Replaces what stands between the page's two marks.

    Args:
        results: What `evaluate` found.
        page: The Markdown file; it has both marks.
    """
    before, rest = page.read_text("utf-8").split(_BEGIN)
    after = rest.split(_END)[1]
    lines = []
    for section in (_times, _faults, _upkeep, _facts):
        lines += [*section(results), ""]
    page.write_text("\n".join((before + _BEGIN, "", *lines)) + _END + after, "utf-8")


def _times(results: dict[str, Any]) -> Iterator[str]:
    yield from ("### Speed, with two workers", "")
    yield "| queue | slots | p50 ms | p95 ms | no-ops /s | waits /s | submitted /s | no-ops : docket | waits : docket |"
    yield "|---|--:|--:|--:|--:|--:|--:|--:|--:|"
    rates = {
        title: {name: _median(found, name, "per_second") for name in ("noops", "waits")}
        for title, found in results["found"].items()
    }
    slots = results["facts"]["slots"]
    for title, found in results["found"].items():
        samples = [second for trial in found.get("latency", ()) for second in trial.get("samples", ())]
        times = [f"{_percentile(samples, share) * 1000:.1f}" if samples else "failed" for share in (0.5, 0.95)]
        submitted = _median(found, "noops", "submitted_per_second")
        yield (
            f"| {title} | {slots[title]} | {' | '.join(times)} | {_number(rates[title]['noops'])}{_missing(found)} "
            f"| {_number(rates[title]['waits'])} | {_number(submitted)} "
            f"| {_ratio(rates, title, 'noops')} | {_ratio(rates, title, 'waits')} |"
        )


def _faults(results: dict[str, Any]) -> Iterator[str]:
    yield from ("### Faults", "")
    yield "| queue | worker killed in mid-task, lease 5 s | task of 110 s, lease 5 s | running task cancelled |"
    yield "|---|---|---|---|"
    for title, found in results["found"].items():
        cells = [
            describe(found[name][0]) if found.get(name) else "not run"
            for name, describe in (("killed", _killed), ("outlasting", _outlasting), ("cancelled", _cancelled))
        ]
        yield f"| {title} | {' | '.join(cells)} |"


def _killed(trial: dict[str, Any]) -> str:
    if "failed" in trial:
        return _failed(trial)
    if trial["again_after"] is None:
        return "**lost**"
    when = f"run again after {trial['again_after']:.1f} s"
    if not trial["by_itself"]:
        when += ", only once new tasks came (the other worker had been idle until then)"
    return when if trial["ends"] == 1 else f"{when}; ended {trial['ends']} times"


def _outlasting(trial: dict[str, Any]) -> str:
    if "failed" in trial:
        return _failed(trial)
    if trial["stopped"]:
        return "stopped when the lease ended"
    if trial["started"] == trial["ended"] == 1:
        return "ran once"
    return f"**started {trial['started']} times** (ended {trial['ended']} times so far)"


def _cancelled(trial: dict[str, Any]) -> str:
    if "failed" in trial:
        return _failed(trial)
    if trial.get("unsupported"):
        return "cannot"
    if trial["stopped_after"] is None:
        return "ran on to its end"
    words = f"stopped after {trial['stopped_after'] * 1000:.0f} ms"
    return words if trial["process_survived"] else f"{words}, by killing its process"


def _upkeep(results: dict[str, Any]) -> Iterator[str]:
    yield from ("### Upkeep", "")
    yield "| distribution | first release | latest | releases in a year | authors | installs | MiB | its own word |"
    yield "|---|---|---|--:|---|--:|--:|---|"
    for kept in results["upkeep"]:
        yield (
            f"| {kept['name']} {kept['version']} | {kept['first']} | {kept['released']} | {kept['lately']} "
            f"| {kept['authors']} | {kept['installed']} | {kept['megabytes']:.0f} | {kept['status']} |"
        )


def _facts(results: dict[str, Any]) -> Iterator[str]:
    yield from ("### Machine", "", "| | |", "|---|---|")
    for name, value in results["facts"].items():
        if isinstance(value, str):
            yield f"| {name} | {value} |"


def _median(found: dict[str, list[Any]], name: str, key: str) -> float | None:
    values = [trial[key] for trial in found.get(name, ()) if key in trial]
    return statistics.median(values) if values else None


def _percentile(samples: list[float], share: float) -> float:
    """Nearest rank."""
    return sorted(samples)[math.ceil(len(samples) * share) - 1]


def _number(value: float | None) -> str:
    return "failed" if value is None else f"{value:.0f}"


def _ratio(rates: dict[str, dict[str, float | None]], title: str, name: str) -> str:
    own, base = rates[title][name], rates["docket"][name]
    return f"{own / base:.2f}" if own and base else ""


def _missing(found: dict[str, list[Any]]) -> str:
    missing = sum(trial["of"] - trial["done"] for name in ("noops", "waits") for trial in found[name] if "of" in trial)
    return f" ({missing} not done in time)" if missing else ""


def _failed(trial: dict[str, Any]) -> str:
    return f"failed: {trial['failed'][:100]}".replace("|", "/")
