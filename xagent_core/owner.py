"""Tells who owns a sandbox, so that a reaper knows those of dead owners from those of living ones."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

__all__ = ["Owner"]


@dataclass(frozen=True, slots=True)
class Owner:
    """One process, among all that have ever been on all hosts that share a daemon.

    Attributes:
        boot: The boot id of the host's kernel. Containers of one host share it.
        namespace: The process-id namespace, which they do not: a process id means something only inside of it.
        pid: The process id.
        started: Clock ticks from the boot to the process's start, since process ids are used again.
    """

    boot: str
    namespace: str
    pid: int
    started: int

    @classmethod
    def current(cls) -> Self:
        """This process.

        Raises:
            OSError: /proc cannot be read.
        """
        pid = os.getpid()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        namespace = str(Path("/proc/self/ns/pid").readlink()).removeprefix("pid:").strip("[]")
        return cls(boot, namespace, pid, _started(pid) or 0)

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Reads what `str` wrote; None for anything else."""
        try:
            boot, namespace, pid, started = text.split(":")
            return cls(boot, namespace, int(pid), int(started))
        except ValueError:
            return None

    def __str__(self) -> str:
        return f"{self.boot}:{self.namespace}:{self.pid}:{self.started}"

    def state(self, seen_from: Owner) -> Literal["alive", "dead", "unknown"]:
        """Whether the process still runs, as far as `seen_from`, which is this process, can see it."""
        if (self.boot, self.namespace) != (seen_from.boot, seen_from.namespace):
            return "unknown"
        return "alive" if _started(self.pid) == self.started else "dead"


def _started(pid: int) -> int | None:
    """The start time of a process; None where there is no such process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name, in parentheses, may hold anything; the start time is field 22 (proc(5)), the state field 3.
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])
