"""What sandboxes cost while they wait, and how long an engine takes to close."""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.subjects import SAMPLES
from xagent_core import Engine, ExecutionRequest
from xagent_core.config import PoolConfig

__all__ = ["Footprint", "closing_seconds", "footprint"]

_CGROUPS: Final = Path("/sys/fs/cgroup")
_SANDBOXES: Final = 3
_STANDBY_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class Footprint:
    """A sandbox that stands by, the median of a few.

    Attributes:
        backend: The engine.
        language: `bash` is a sandbox in which only the guest's sh waits.
        usage: What its control group counts, in bytes: private memory, page cache first read by it, kernel memory.
        rss: Of that, memory of its processes, in bytes.
        outside: The engine's own process beside it (containerd-shim, conmon), resident bytes; 0 where there is none.
    """

    backend: str
    language: str
    usage: int
    rss: int
    outside: int


async def footprint(backend: str, language: str) -> Footprint | None:
    """Starts a few sandboxes and looks at their control groups; None where they have none of their own."""
    async with Engine(backend, pool=PoolConfig(ready=0)) as engine:
        spec = engine.plan(ExecutionRequest(code=SAMPLES[language].code, language=language)).spec
        sandboxes = [await engine.backend.start(spec) for _ in range(_SANDBOXES)]
        try:
            await asyncio.sleep(_STANDBY_SECONDS)
            seen = [await asyncio.to_thread(_look, backend, sandbox.id) for sandbox in sandboxes]
        finally:
            for sandbox in sandboxes:
                await sandbox.kill()
    known = [look for look in seen if look is not None]
    if not known:
        return None
    usage, rss, outside = (int(statistics.median(column)) for column in zip(*known, strict=True))
    return Footprint(backend, language, usage, rss, outside)


async def closing_seconds(backend: str, *, sandboxes: int = 20) -> float:
    """How long an engine with this many sandboxes that stand by takes to close."""
    engine = Engine(backend, pool=PoolConfig(ready=sandboxes, most=sandboxes, refills=4), warm=["python"])
    await engine.__aenter__()
    began = time.perf_counter()
    await engine.aclose()
    return time.perf_counter() - began


def _look(backend: str, sandbox: str) -> tuple[int, int, int] | None:
    outside = 0
    if backend in ("docker", "podman"):
        form = "{{.State.Pid}} {{.Id}}"
        said = subprocess.run([backend, "inspect", "--format", form, sandbox], stdout=subprocess.PIPE, check=True)
        pid, identity = said.stdout.split()
        sandbox = identity.decode()
        outside = _resident(_parent(int(pid)))
    for folder, _, files in os.walk(_CGROUPS):
        if sandbox not in folder:
            continue
        name = next((name for name in ("memory.current", "memory.usage_in_bytes") if name in files), None)
        if name is not None:
            lines = Path(folder, "memory.stat").read_text("ascii").splitlines()
            stat = {key: int(value) for key, value in (line.split() for line in lines)}
            private = stat.get("anon", stat.get("total_rss", 0))
            return int(Path(folder, name).read_text("ascii")), private, outside
    return None


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()[1])


def _resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1]) * os.sysconf("SC_PAGESIZE")
