"""Control groups: one for each sandbox, where this process may make them."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from xagent_core.types import Usage

__all__ = ["CgroupTree", "SandboxCgroup", "find_tree"]

Settings = tuple[tuple[str, str], ...]
_PERIOD: Final = 100_000
_REMOVE_SECONDS: Final = 5.0


@dataclass(frozen=True, kw_only=True, slots=True)
class CgroupTree:
    """Where sandboxes' control groups are made.

    Attributes:
        version: 1 or 2.
        folders: By controller (`memory`, `cpu`, `pids`, `cpuacct`), the folder that they are made in.
    """

    version: int
    folders: dict[str, Path]

    def group(self, name: str, *, memory: int, cpus: float, processes: int) -> SandboxCgroup:
        """The group of one sandbox; the fork server makes it."""
        quota = max(1000, round(cpus * _PERIOD))
        settings: dict[str, Settings] = {
            "memory": (
                ("memory.limit_in_bytes", str(memory)),
                ("memory.swappiness", "0"),
            ),
            "cpu": (("cpu.cfs_period_us", str(_PERIOD)), ("cpu.cfs_quota_us", str(quota))),
            "pids": (("pids.max", str(processes)),),
        }
        folders: dict[Path, Settings] = {}
        for controller, parent in self.folders.items():
            folders[parent / name] = folders.get(parent / name, ()) + settings.get(controller, ())
        return SandboxCgroup(
            version=self.version,
            folders=folders,
            memory=self.folders["memory"] / name if "memory" in self.folders else None,
            cpu=self.folders["cpuacct"] / name if "cpuacct" in self.folders else None,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class SandboxCgroup:
    """The control groups of one sandbox."""

    version: int
    folders: dict[Path, Settings]
    memory: Path | None
    cpu: Path | None

    def request(self) -> tuple[tuple[str, Settings], ...]:
        """What the fork server is told."""
        return tuple((str(folder.relative_to("/sys/fs/cgroup")), settings) for folder, settings in self.folders.items())

    def usage(self) -> Usage | None:
        """What it has counted so far."""
        peak = oom = cpu = None
        with contextlib.suppress(OSError):
            if self.memory:
                peak = int((self.memory / "memory.max_usage_in_bytes").read_text())
                table = dict(line.split() for line in (self.memory / "memory.oom_control").read_text().splitlines())
                oom = int(table["oom_kill"])
            if self.cpu:
                cpu = int((self.cpu / "cpuacct.usage").read_text()) / 1e9
        return Usage(peak_memory=peak, cpu_time=cpu, oom_kills=oom)

    async def remove(self) -> None:
        """Removes it; its processes have ended, though the kernel may need a moment more."""
        pause, waited = 0.001, 0.0
        left = list(self.folders)
        while left:
            for folder in list(left):
                try:
                    os.rmdir(folder)
                except FileNotFoundError:
                    pass
                except OSError as error:
                    if error.errno != errno.EBUSY or waited > _REMOVE_SECONDS:
                        raise
                    continue
                left.remove(folder)
            if left:
                await asyncio.sleep(pause)
                waited += pause
                pause = min(2 * pause, 0.05)


def find_tree() -> CgroupTree | None:
    root = Path("/sys/fs/cgroup")
    folders = {}
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, names, path = line.split(":", 2)
        for name in names.split(","):
            if name in ("memory", "cpu", "pids", "cpuacct"):
                folders[name] = root / names / path.lstrip("/")
    return CgroupTree(version=1, folders=folders) if len(folders) == 4 else None
