"""Starts the fork server where it, or its sandboxes, can be put into control groups."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from xagent_bubblewrap.cgroups import MOUNTS, CgroupTree, find_tree, folder_name
from xagent_bubblewrap.launcher import Launcher
from xagent_bubblewrap.privileges import Privileges
from xagent_core.bridge import in_thread
from xagent_core.errors import BackendError
from xagent_core.owner import Owner

__all__ = ["open_launcher", "user_scope"]

# A group that has processes can have no limited groups below it: the fork server itself goes into this one.
_LEAF: Final = "xagent-forkserver"


async def open_launcher(component: str, privileges: Privileges, *, cgroups: bool) -> tuple[Launcher, CgroupTree | None]:
    """Starts the fork server, and finds out where its sandboxes' control groups can be.

    An ordinary user whose own group is not theirs asks their systemd for a scope around the fork server.

    Args:
        component: The backend's name, for errors.
        privileges: What this process may do.
        cgroups: Whether control groups are wanted.

    Returns:
        The running fork server, and the folders for its sandboxes; None where there can be none.

    Raises:
        BackendUnavailableError: It cannot make its namespaces.
    """
    launcher = await _opened(component, privileges)
    if not cgroups:
        return launcher, None
    tree = await in_thread(_tree_of, launcher.pid)
    if tree is not None:
        return launcher, tree
    scope = await in_thread(user_scope, os.environ)
    if not scope:
        return launcher, None
    with contextlib.suppress(BackendError):
        in_scope = await _opened(component, privileges, wrapper=scope)
        tree = await in_thread(_divide_scope, in_scope.pid)
        if tree is not None:
            await launcher.aclose()
            return in_scope, tree
        await in_scope.aclose()
    return launcher, None


def user_scope(environ: Mapping[str, str]) -> tuple[str, ...]:
    """The argv that runs a program in a scope of the user's systemd, whose group is then the user's to divide.

    Args:
        environ: This process's environment.

    Returns:
        The words before the program's own; none where there is no such systemd, or control groups are version 1,
        which it does not hand over.
    """
    program = shutil.which("systemd-run")
    runtime = environ.get("XDG_RUNTIME_DIR")
    if program is None or not runtime or not Path(runtime, "systemd").is_dir():
        return ()
    if not (MOUNTS / "cgroup.controllers").exists():
        return ()
    return (program, "--user", "--scope", "--quiet", "--collect", "--property=Delegate=yes", "--")


async def _opened(component: str, privileges: Privileges, wrapper: tuple[str, ...] = ()) -> Launcher:
    mounts = MOUNTS if MOUNTS.is_dir() else Path("/")
    launcher = Launcher(component, privileges=privileges, cgroups=mounts, wrapper=wrapper)
    await launcher.open()
    return launcher


def _tree_of(pid: int) -> CgroupTree | None:
    membership = Path("/proc", str(pid), "cgroup")
    if not membership.exists():
        return None
    return find_tree(folder_name(Owner.current()), membership=membership.read_text())


def _divide_scope(pid: int) -> CgroupTree | None:
    """Moves the fork server out of the way, so that its scope can have limited groups."""
    path = Path("/proc", str(pid), "cgroup").read_text().partition("::")[2].strip()
    scope = MOUNTS / path.lstrip("/")
    try:
        (scope / _LEAF).mkdir()
        (scope / _LEAF / "cgroup.procs").write_text(str(pid))
    except OSError:
        return None
    # By its membership it is in the leaf now, beside which the groups can be made.
    return _tree_of(pid)
