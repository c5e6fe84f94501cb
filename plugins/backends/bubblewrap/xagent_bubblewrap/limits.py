"""Which limits hold here, and by what: control groups, the scratch tmpfs, or limits of processes."""

from __future__ import annotations

import platform
import re
import resource
from typing import Final

from xagent_bubblewrap.cgroups import CgroupTree
from xagent_bubblewrap.privileges import Privileges
from xagent_core.abc.backend import Capabilities, SandboxSpec
from xagent_core.errors import SandboxStartError
from xagent_core.types import MIB

__all__ = ["capabilities_of", "held", "rlimits"]

# From this kernel on RLIMIT_NPROC counts within a user namespace (commit 21d1c5e386bc), and not all of a user.
_NPROC_BY_NAMESPACE: Final = (5, 14)

# What a process may reserve beside its memory: V8 of Node.js 24 takes between 540 and 580 MiB for code as it starts.
_RESERVED: Final = 768 * MIB


def capabilities_of(tree: CgroupTree | None, privileges: Privileges) -> Capabilities:
    """What is truthfully enforced.

    Args:
        tree: Where control groups are made; None where they cannot be.
        privileges: What this process may do.
    """
    folders = tree.folders if tree else {}
    group = f"cgroup v{tree.version}" if tree else ""
    how = {"scratch": "the size of a tmpfs"}
    limits = {"scratch"}
    if "memory" in folders:
        limits.add("memory")
        how["memory"] = group if tree and tree.swap else f"{group}, swap discouraged only"
    else:
        how["memory"] = "held roughly, and for each process (RLIMIT_DATA): no control group can be made"
    if "cpu" in folders:
        limits.add("cpus")
        how["cpus"] = group
    else:
        how["cpus"] = "not held: no control group can be made"
    if "pids" in folders:
        limits.add("processes")
        how["processes"] = group
    elif privileges.uid_by_pid or _kernel() >= _NPROC_BY_NAMESPACE:
        limits.add("processes")
        how["processes"] = "RLIMIT_NPROC, of a user of its own"
    else:
        how["processes"] = "RLIMIT_NPROC, shared with this user's other processes"
    return Capabilities(limits=frozenset(limits), how=how, reports_usage=tree is not None)


def held(component: str, spec: SandboxSpec, capabilities: Capabilities) -> None:
    """Refuses a sandbox whose limits would not hold.

    Raises:
        SandboxStartError: A limit or the network policy cannot be held.
    """
    if spec.network not in capabilities.networks:
        raise SandboxStartError(component, f"network={spec.network.value!r} cannot be held")
    for name in ("memory", "cpus", "processes", "scratch"):
        if name not in capabilities.limits and name not in spec.unenforced:
            raise SandboxStartError(component, f"the limit {name} cannot be held ({capabilities.how.get(name)})")


def rlimits(spec: SandboxSpec, *, processes: int, tree: CgroupTree | None) -> tuple[tuple[int, int], ...]:
    """The limits of each process, soft and hard alike.

    Args:
        spec: What they are for.
        processes: Of RLIMIT_NPROC, all that the kernel counts included.
        tree: Where control groups are made.
    """
    limits = [
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, spec.open_files),
        (resource.RLIMIT_FSIZE, spec.scratch),
        (resource.RLIMIT_NPROC, processes),
        (resource.RLIMIT_MSGQUEUE, 0),
    ]
    if tree is None or "memory" not in tree.folders:
        # Not the address space, of which JavaScript engines reserve gigabytes.
        limits.append((resource.RLIMIT_DATA, spec.memory + _RESERVED))
    return tuple(limits)


def _kernel() -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", platform.release())[:2]))
