"""Names what an engine's process leaves in the kernel, so that others can tell whether it still lives."""

from __future__ import annotations

import os
import re
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

__all__ = ["Owner"]

_NAME: Final = re.compile(r"xagent-(?P<space>\d+)-(?P<pid>\d+)-(?P<started>\d+)-[0-9a-f]+")


@dataclass(frozen=True, kw_only=True, slots=True)
class Owner:
    """A process, and one backend object in it.

    Attributes:
        space: The pid namespace's number: process ids mean nothing outside it.
        pid: The process.
        started: When it started, in clock ticks after the boot: process ids are used again.
        name: All that, and a random part for the object.
    """

    space: int
    pid: int
    started: int
    name: str

    @classmethod
    def this_process(cls) -> Self:
        """This process, with a new random part."""
        pid, space = os.getpid(), _space()
        started = _started(pid) or 0
        return cls(space=space, pid=pid, started=started, name=f"xagent-{space}-{pid}-{started}-{secrets.token_hex(3)}")

    @classmethod
    def parse(cls, name: str) -> Self | None:
        """The owner that a name tells; None where it is no such name."""
        match = _NAME.fullmatch(name)
        if match is None:
            return None
        return cls(space=int(match["space"]), pid=int(match["pid"]), started=int(match["started"]), name=name)

    def is_dead(self) -> bool:
        """Whether it is known to have ended: of other pid namespaces nothing is known."""
        return self.space == _space() and _started(self.pid) != self.started


def _space() -> int:
    return Path("/proc/self/ns/pid").stat().st_ino


def _started(pid: int) -> int | None:
    """Field 22 of proc(5)'s stat, counted after the command's name, which may hold anything; None for no process."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])
