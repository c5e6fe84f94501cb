"""What the project has promised, checked against what was measured."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from benchmarks.results import Results

__all__ = ["Verdict", "verdicts"]

_FULL: Final = "xagent, pool full"
_EMPTY: Final = "xagent, pool empty"
_BARE_P50: Final = {"docker": 0.5, "podman": 0.5, "bubblewrap": 0.6}
_COMPILED: Final = {"typescript": (1.5, "bare `esbuild`, then `node`"), "go": (1.3, "bare `go tool compile`, `link`")}
_SUSTAINED: Final = {
    "network none": (1.4, "a plain SDK loop with `network_mode=none`"),
    "bwrap": (0.9, "a bare `bwrap` loop"),
}
_SANDBOX_MIB: Final = {"bash": 4, "python": 8}


@dataclass(frozen=True, slots=True)
class Verdict:
    """One target.

    Attributes:
        target: In words, with its limit.
        measured: The figure, in the unit of the limit.
        met: Whether it holds.
    """

    target: str
    measured: str
    met: bool


def verdicts(results: Results) -> Iterator[Verdict]:
    """Each target that this run can tell about."""
    backends = sorted({group for group, _, name in results.latencies if name == _FULL}, reverse=True)
    for backend in backends:
        yield from _standby(results, backend)
        yield from _empty(results, backend)
    yield from _throughput(results)
    for print_ in results.footprints:
        most = _SANDBOX_MIB[print_.language]
        what = "only `sh`" if print_.language == "bash" else print_.language
        mib = print_.usage / 2**20
        yield Verdict(
            f"{print_.backend}: a ready sandbox with {what} takes at most {most} MiB", f"{mib:.1f} MiB", mib <= most
        )
    for backend, seconds in results.closing.items():
        yield Verdict(
            f"{backend}: an engine with 20 sandboxes closes in under 2 s", f"{seconds:.2f} s", seconds < 2
        )  # fmt: skip
    yield from _ahead(results)


def _standby(results: Results, backend: str) -> Iterator[Verdict]:
    for language in ("python", "javascript"):
        bare, full = results.bare(language), results.latencies.get((backend, language, _FULL))
        if bare and full:
            for most, name, ratio in (
                (_BARE_P50[backend], "p50", full.p50 / bare.p50),
                (1.0, "p95", full.p95 / bare.p95),
            ):
                text = f"{backend}, {language}, pool full: {name} at most {most:g} times that of the bare interpreter"
                yield Verdict(text, f"{ratio:.2f}", ratio <= most)
    bare, full = results.bare("bash"), results.latencies.get((backend, "bash", _FULL))
    if bare and full:
        more = (full.p50 - bare.p50) * 1000
        yield Verdict(f"{backend}, bash, pool full: p50 at most 3 ms above bare bash", f"{more:+.1f} ms", more <= 3)
    for language, (most, what) in _COMPILED.items():
        bare, full = results.bare(language), results.latencies.get((backend, language, _FULL))
        if bare and full:
            ratio = full.p50 / bare.p50
            text = f"{backend}, {language}, pool full: p50 at most {most:g} times {what}"
            yield Verdict(text, f"{ratio:.2f}", ratio <= most)


def _empty(results: Results, backend: str) -> Iterator[Verdict]:
    raw, bare, empty = results.raw(backend), results.bare("python"), results.latencies.get((backend, "python", _EMPTY))
    if raw and bare and empty:
        ratio = (empty.p50 - bare.p50) / raw.p50
        text = f"{backend}, pool empty: p50, less the bare interpreter's, at most 1.15 times the bare engine's"
        yield Verdict(text, f"{ratio:.2f}", ratio <= 1.15)


def _throughput(results: Results) -> Iterator[Verdict]:
    bare = results.bare("python")
    for cell in results.sustained:
        if cell.consumers != 4 or cell.against not in _SUSTAINED:
            continue
        least, what = _SUSTAINED[cell.against]
        ratio = cell.ours / cell.rival
        text = f"{cell.backend}, 4 consumers: at least {least:g} times the executions a second of {what}"
        yield Verdict(text, f"{ratio:.2f}", ratio >= least)
        if cell.backend == "docker" and bare and cell.run:
            ratio = cell.run.p50 / bare.p50
            text = "docker, 4 consumers: a job's p50, once it has a sandbox, at most 3 times the bare interpreter's"
            yield Verdict(text, f"{ratio:.1f}", ratio <= 3)


def _ahead(results: Results) -> Iterator[Verdict]:
    peers = {key: found for key, found in results.latencies.items() if key[2].startswith(("llm-sandbox", "autogen"))}
    for (group, language, name), peer in peers.items():
        # One that opens a sandbox for each program is compared with an empty pool, all others with a full one.
        ours = results.latencies.get((group, language, _EMPTY if name.endswith(("cold", "one-shot")) else _FULL))
        if ours:
            text = f"ahead of {name} on {group}, p50"
            yield Verdict(text, f"{ours.p50 * 1000:.0f} ms against {peer.p50 * 1000:.0f} ms", ours.p50 < peer.p50)
