"""Looks on the host for what a sandbox could leave: processes, namespaces, control groups, mounts, containers, files.

A sandbox is known by its id and by its namespaces, which its guest tells before it has run anything. Whatever is on
the host afterwards under that id or in one of those namespaces has outlived it. A program that gets at the host itself
would show in its settings, or by the name `xagent-hostile` that all of them give to whatever they make.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.backends import containers
from xagent_core import Sandbox

__all__ = ["Sight", "host_settings", "marked", "sight", "traces"]

MARK = "xagent-hostile"
"""In the name of all that the programs make: files, sockets, keys."""
PORT = 17811
"""Where the programs that serve listen."""
IPC_KEY = 0x7861676E
"""The key of their System V objects."""

_OF_ENGINES = ("br-", "cni", "docker", "podman", "veth")
_KINDS = ("pid", "mnt", "net", "ipc", "uts")
PLACES = (
    "/", "/tmp", "/dev", "/dev/shm", "/dev/mqueue", "/etc", "/etc/cron.d", "/home", "/mnt", "/opt",
    "/root", "/run", "/run/lock", "/usr/bin", "/usr/local/bin", "/var/lib", "/var/run", "/var/spool/cron", "/var/tmp",
)  # fmt: skip
_SETTINGS = (
    "/proc/sys/kernel/core_pattern", "/proc/sys/kernel/hostname", "/proc/sys/kernel/modprobe",
    "/proc/sys/kernel/randomize_va_space", "/proc/sys/kernel/sysrq", "/proc/sys/net/ipv4/ip_forward",
    "/sys/kernel/uevent_helper", "/etc/ld.so.preload",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Sight:
    """What a sandbox is known by.

    Attributes:
        id: The sandbox's.
        namespaces: As `readlink` shows them.
        held: Descriptors of them: as long as one is open, the kernel gives its number to no other namespace.
    """

    id: str
    namespaces: frozenset[str]
    held: tuple[int, ...]


async def sight(sandbox: Sandbox) -> Sight:
    """Asks the guest of a sandbox that has run nothing."""
    links = " ".join(f"/proc/self/ns/{kind}" for kind in _KINDS)
    await sandbox.send(f"readlink {links} >&4\n".encode())
    told = b""
    while told.count(b"\n") < len(_KINDS):
        piece = await sandbox.receive()
        assert piece is not None, "the guest has ended"
        told += piece[1]
    namespaces = frozenset(told.decode().split())
    return Sight(id=sandbox.id, namespaces=namespaces, held=_hold(namespaces))


def _hold(namespaces: frozenset[str]) -> tuple[int, ...]:
    for folder in Path("/proc").glob("[0-9]*"):
        if namespaces <= set(_namespaces(folder)):
            with contextlib.suppress(OSError):  # it has just ended, as what has told the names does
                return tuple(os.open(folder / "ns" / kind, os.O_RDONLY) for kind in _KINDS)
    return ()  # Of another user, as a rootless engine's are.


def traces(seen: Sight, backend: str, *, within: float = 30) -> list[str]:
    """What is left of a sandbox; it may take a moment to be gone.

    Args:
        seen: The sandbox, whose namespaces are let go.
        backend: Where it ran.
        within: Seconds for it to go.
    """
    end = time.monotonic() + within
    while left := [*_processes(seen), *_groups(seen), *_mounts(seen), *_containers(seen, backend)]:
        if time.monotonic() > end:
            break
        time.sleep(0.05)
    for descriptor in seen.held:
        os.close(descriptor)
    return left


def _names(text: str, seen: Sight) -> bool:
    """Whether a sandbox is named: containers by the beginning of a long id, others by a number that no digit follows.

    Another engine of this process may have sandboxes with greater numbers.
    """
    return re.search(re.escape(seen.id) + (r"(?!\d)" if "-" in seen.id else ""), text) is not None


def _namespaces(folder: Path) -> Iterator[str]:
    for kind in _KINDS:
        # It has ended, or is another user's and so none of ours.
        with contextlib.suppress(OSError):
            yield str((folder / "ns" / kind).readlink())


def _processes(seen: Sight) -> Iterator[str]:
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            command = (folder / "cmdline").read_bytes()
            if seen.namespaces.intersection(_namespaces(folder)) or _names(command.decode("utf-8", "replace"), seen):
                yield f"process {folder.name}: {command!r}"


def _groups(seen: Sight) -> Iterator[str]:
    for path, names, _ in os.walk("/sys/fs/cgroup"):
        yield from (f"control group {path}/{name}" for name in names if _names(name, seen))


def _mounts(seen: Sight) -> Iterator[str]:
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        if _names(line, seen) or any(namespace in line for namespace in seen.namespaces):
            yield f"mount {line}"


def _containers(seen: Sight, backend: str) -> Iterator[str]:
    yield from (f"container {found.id}" for found in containers(backend) if found.id.startswith(seen.id))


def marked() -> list[str]:
    """What on the host has the name, the port or the key that the programs use."""
    found = []
    for place in map(Path, PLACES):
        if place.is_dir():
            found += [str(path) for path in place.iterdir() if path.name.startswith(MARK)]
    for name in ("/proc/net/unix", "/proc/keys"):
        found += [f"{name}: {line}" for line in _lines(name) if MARK in line]
    for name in ("/proc/net/tcp", "/proc/net/tcp6"):
        found += [f"{name}: {line}" for line in _lines(name) if f":{PORT:04X} " in line]
    for name in ("/proc/sysvipc/shm", "/proc/sysvipc/sem", "/proc/sysvipc/msg"):
        found += [f"{name}: {line}" for line in _lines(name)[1:] if int(line.split()[0]) == IPC_KEY]
    return found


def _lines(name: str) -> list[str]:
    """None where the kernel was built without what the file tells of."""
    return Path(name).read_text("utf-8", "replace").splitlines() if Path(name).exists() else []


def host_settings() -> dict[str, str]:
    """What decides how the host works, and the network interfaces that no container brings."""
    settings = {name: Path(name).read_text() for name in _SETTINGS if Path(name).is_file()}
    names = (name for _, name in socket.if_nameindex())
    settings["interfaces"] = " ".join(sorted(name for name in names if not name.startswith(_OF_ENGINES)))
    return settings
