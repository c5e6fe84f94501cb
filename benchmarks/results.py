"""All that one run of the benchmark has found out."""

from __future__ import annotations

from dataclasses import dataclass, field

from benchmarks.footprint import Footprint
from benchmarks.raw_bwrap import LimitedBwrap
from benchmarks.raw_docker import RawContainer
from benchmarks.throughput import Pace, Sustained
from xagent_core.benchmark.measure import Key, Latency

__all__ = ["Results"]


@dataclass(slots=True)
class Results:
    """What the report is written from.

    Attributes:
        latencies: By subject.
        failures: Why a subject could not be measured.
        sustained: Executions of Python a second, beside a rival's.
        paces: Executions a second of each language.
        footprints: Memory of sandboxes that stand by.
        closing: By backend, the seconds that an engine with 20 sandboxes took to close.
        peers_closing: By peer's row, the seconds that closing one took.
        facts: The machine, versions, and how the run was done, for a reader.
    """

    latencies: dict[Key, Latency] = field(default_factory=dict)
    failures: dict[Key, str] = field(default_factory=dict)
    sustained: list[Sustained] = field(default_factory=list)
    paces: list[Pace] = field(default_factory=list)
    footprints: list[Footprint] = field(default_factory=list)
    closing: dict[str, float] = field(default_factory=dict)
    peers_closing: dict[str, float] = field(default_factory=dict)
    facts: dict[str, str] = field(default_factory=dict)

    def bare(self, language: str) -> Latency | None:
        """The interpreter, or the compiler, without a sandbox."""
        return self.latencies.get(("bare", language, "no sandbox"))

    def raw(self, backend: str) -> Latency | None:
        """What a sandbox of this engine costs at least, with nothing run in it."""
        name = LimitedBwrap.name if backend == LimitedBwrap.group else RawContainer.name
        return self.latencies.get((backend, "python", name))
