"""Control groups: where they can be made here, and one for each sandbox.

The fork server makes a sandbox's group in the process that becomes its bwrap, so that all of it is counted, and
removes what an owner that was killed left. A folder's name tells its owner, for the reaper.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from xagent_core.owner import Owner
from xagent_core.types import Usage

__all__ = ["MOUNTS", "CgroupTree", "SandboxCgroup", "find_tree", "folder_name", "reap"]

MOUNTS: Final = Path("/sys/fs/cgroup")
Settings = tuple[tuple[str, str], ...]

# The default period of the kernel's bandwidth control (Documentation/scheduler/sched-bwc), in microseconds.
_PERIOD: Final = 100_000
_REMOVE_SECONDS: Final = 5.0
# How a process of one thread enters a group. In version 1 as a thread: recent kernels then take no lock of all
# processes, for which they wait 10 ms. Version 2 has no such way between groups that are limited each by itself.
_JOIN: Final = {1: ("tasks", "0"), 2: ("cgroup.procs", "0")}
_V1: Final = ("memory", "cpu", "pids", "cpuacct")
_V2: Final = ("memory", "cpu", "pids")


@dataclass(frozen=True, kw_only=True, slots=True)
class CgroupTree:
    """Where the groups of one owner's sandboxes are made.

    Attributes:
        version: 1 or 2.
        folders: The owner's folder, by controller: `memory`, `cpu`, `pids` and, in version 1, `cpuacct`.
        swap: Whether the limit of memory can be held for swap as well.
    """

    version: int
    folders: Mapping[str, Path]
    swap: bool

    def group(self, name: str, *, memory: int, cpus: float, processes: int) -> SandboxCgroup:
        """The group of one sandbox; it is made by the fork server."""
        settings = (_v1_settings if self.version == 1 else _v2_settings)(memory, cpus, processes, swap=self.swap)
        folders: dict[Path, Settings] = {}
        for controller, parent in self.folders.items():
            folders[parent / name] = folders.get(parent / name, ()) + settings.get(controller, ())
        places = {controller: parent / name for controller, parent in self.folders.items()}
        return SandboxCgroup(version=self.version, folders=folders, places=places)

    def remove(self) -> None:
        """Removes the owner's folders, when no sandbox is left."""
        for folder in set(self.folders.values()):
            with contextlib.suppress(OSError):
                folder.rmdir()


def _v1_settings(memory: int, cpus: float, processes: int, *, swap: bool) -> dict[str, Settings]:
    both = (("memory.memsw.limit_in_bytes", str(memory)),) if swap else (("memory.swappiness", "0"),)
    return {
        "memory": (("memory.limit_in_bytes", str(memory)), *both),
        "cpu": (("cpu.cfs_quota_us", str(round(cpus * _PERIOD))),),
        "pids": (("pids.max", str(processes)),),
    }


def _v2_settings(memory: int, cpus: float, processes: int, *, swap: bool) -> dict[str, Settings]:
    both = (("memory.swap.max", "0"),) if swap else ()
    return {
        "memory": (("memory.max", str(memory)), *both),
        "cpu": (("cpu.max", f"{round(cpus * _PERIOD)} {_PERIOD}"),),
        "pids": (("pids.max", str(processes)),),
    }


@dataclass(frozen=True, kw_only=True, slots=True)
class SandboxCgroup:
    """The group of one sandbox.

    Attributes:
        version: 1 or 2.
        folders: Each folder and what is written to its files.
        places: Its folders by controller.
    """

    version: int
    folders: Mapping[Path, Settings]
    places: Mapping[str, Path]

    def request(self, mounts: Path) -> tuple[tuple[str, Settings], ...]:
        """What the fork server writes, in order: paths from the folder of the mounts on."""
        return tuple(
            (str(folder.relative_to(mounts)), (*settings, _JOIN[self.version]))
            for folder, settings in self.folders.items()
        )

    def usage(self) -> Usage:
        """What it has counted so far; a few reads from the kernel's memory."""
        memory = self.places.get("memory")
        if self.version == 1:
            events = _table(memory, "memory.oom_control")
            cpu = _number(self.places.get("cpuacct"), "cpuacct.usage")
            seconds = None if cpu is None else cpu / 1e9
            peak = _number(memory, "memory.max_usage_in_bytes")
        else:
            events = _table(memory, "memory.events")
            cpu = _table(self.places.get("cpu"), "cpu.stat").get("usage_usec")
            seconds = None if cpu is None else cpu / 1e6
            peak = _number(memory, "memory.peak")  # from Linux 5.19 on
        return Usage(peak_memory=peak, cpu_time=seconds, oom_kills=events.get("oom_kill"))

    def remove(self) -> None:
        """Removes it when its processes have ended; it waits and retries, so call it in a thread.

        Raises:
            OSError: A folder cannot be removed.
        """
        for folder in self.folders:
            _remove(folder)


def _remove(folder: Path) -> None:
    end = time.monotonic() + _REMOVE_SECONDS
    while True:
        try:
            folder.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            # Processes that have ended may be counted for a moment more; and where bwrap's monitor was killed before
            # its child had asked to die with it, there is one that has not.
            if time.monotonic() > end:
                raise
            with contextlib.suppress(OSError):
                _end(folder)
            time.sleep(0.002)
        else:
            return


def _number(folder: Path | None, name: str) -> int | None:
    if folder is not None:
        with contextlib.suppress(OSError, ValueError):
            return int((folder / name).read_text())
    return None


def _table(folder: Path | None, name: str) -> dict[str, int]:
    if folder is not None:
        with contextlib.suppress(OSError, ValueError):
            return {key: int(value) for key, value in map(str.split, (folder / name).read_text().splitlines())}
    return {}


def folder_name(owner: Owner) -> str:
    """The name of a backend's folders: tells their owner, and differs from that of its other backend objects."""
    return f"xagent:{owner}:{secrets.token_hex(3)}"


def find_tree(name: str, *, membership: str, mounts: Path = MOUNTS) -> CgroupTree | None:
    """Makes the owner's folders where this process may, below or beside its own group.

    Args:
        name: From `folder_name`.
        membership: The text of `/proc/PID/cgroup` of the process that will fork sandboxes.
        mounts: Where the hierarchies are mounted.

    Returns:
        The folders; None where nothing can be limited.
    """
    own = dict(_memberships(membership))
    if (mounts / "cgroup.controllers").exists():
        if "" not in own:
            return None
        group = mounts / own[""].lstrip("/")
        return _find_v2(name, group, top=mounts)
    return _find_v1(name, own, mounts)


def _memberships(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            yield controller, path


def _find_v1(name: str, own: Mapping[str, str], mounts: Path) -> CgroupTree | None:
    folders = {}
    for controller in _V1:
        if controller not in own:
            continue
        # In a container the path may be the host's, while the mount shows the container's group as its top.
        for group in (mounts / controller / own[controller].lstrip("/"), mounts / controller):
            # `cpu` may be a link to `cpu,cpuacct`: what two controllers share must be made once.
            folder = group.resolve() / name
            if _made(folder):
                folders[controller] = folder
                break
    swap = "memory" in folders and (folders["memory"] / "memory.memsw.limit_in_bytes").exists()
    limits = [controller for controller in folders if controller != "cpuacct"]
    return CgroupTree(version=1, folders=folders, swap=swap) if limits else None


def _find_v2(name: str, group: Path, *, top: Path) -> CgroupTree | None:
    # A group with processes of its own can have no limited groups below it, except the root; so take the parent,
    # whose other limits then hold for sandboxes as they do for this process.
    is_root = group == top and not (top / "cgroup.type").exists()
    parent = group if is_root else group.parent
    if not parent.is_relative_to(top) or not group.is_dir():
        return None
    folder = parent / name
    if not _enabled(parent) or not _made(folder):
        return None
    held = _enabled(folder)
    if not held:
        folder.rmdir()
        return None
    return CgroupTree(version=2, folders=dict.fromkeys(held, folder), swap=(parent / "memory.swap.max").exists())


def _enabled(group: Path) -> tuple[str, ...]:
    """Has a group's controllers limit the groups below it; those that do."""
    control = group / "cgroup.subtree_control"
    try:
        offered = (group / "cgroup.controllers").read_text().split()
        for controller in _V2:
            if controller in offered and controller not in control.read_text().split():
                control.write_text(f"+{controller}")
        return tuple(controller for controller in _V2 if controller in control.read_text().split())
    except OSError:
        return ()


def _made(folder: Path) -> bool:
    try:
        folder.mkdir(exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK)


def reap(mounts: Path = MOUNTS) -> list[str]:
    """Removes the folders of owners that are dead, and ends what still runs in them. Call it in a thread.

    Returns:
        One line for each.
    """
    removed: dict[str, None] = {}
    me = Owner.current()
    for folder in _owner_folders(mounts):
        owner = _owner_of(folder.name)
        if owner is None or owner.state(seen_from=me) != "dead":
            continue
        # Another process's reaper may be at it too: whoever removes the folder says so.
        with contextlib.suppress(OSError):
            groups = [*folder.glob("*/"), folder]
            for group in groups:
                with contextlib.suppress(OSError):
                    _end(group)
                    group.rmdir()
                    if group == folder:
                        removed[f"control groups of process {owner.pid}, which has ended ({folder.name})"] = None
    return list(removed)


def _owner_of(name: str) -> Owner | None:
    prefix, _, rest = name.partition(":")
    return Owner.parse(rest.rpartition(":")[0]) if prefix == "xagent" else None


def _owner_folders(mounts: Path) -> list[Path]:
    found: list[Path] = []
    for path, names, _ in os.walk(mounts):
        ours = [name for name in names if _owner_of(name) is not None]
        found.extend(Path(path) / name for name in ours)
        names[:] = [name for name in names if name not in ours]
    return found


def _end(group: Path) -> None:
    for pid in (group / "cgroup.procs").read_text().split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)
