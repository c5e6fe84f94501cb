"""Tells from `docker info` which limits the daemon's kernel holds: a limit that is dropped is never claimed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from xagent_core.abc.backend import Capabilities
from xagent_core.types import NetworkPolicy

__all__ = ["capabilities_of"]


def capabilities_of(info: Mapping[str, Any], *, internet: bool) -> Capabilities:
    """What sandboxes of this daemon are held to.

    Args:
        info: The answer of SystemInfo.
        internet: Whether the network for programs that may reach the internet exists.

    Returns:
        The limits that hold, and in `how` why the others do not.
    """
    cgroup = f"cgroup v{info.get('CgroupVersion', '1')}"
    if info.get("CgroupDriver") == "none":
        missing = "a rootless daemon holds limits only with cgroup v2 and delegation by systemd"
    else:
        missing = f"the kernel's {cgroup} has no such control"
    needed = {
        "memory": (("MemoryLimit", missing), ("SwapLimit", "no swap accounting: boot with swapaccount=1")),
        "cpus": (("CpuCfsQuota", missing), ("CpuCfsPeriod", missing)),
        "processes": (("PidsLimit", missing),),
    }
    how = {"scratch": "tmpfs"}
    held = {"scratch"}
    for limit, controls in needed.items():
        lost = next((why for control, why in controls if not info.get(control)), None)
        how[limit] = cgroup if lost is None else f"not held: {lost}"
        if lost is None:
            held.add(limit)
    networks = {NetworkPolicy.NONE} | ({NetworkPolicy.INTERNET} if internet else set())
    return Capabilities(limits=frozenset(held), networks=frozenset(networks), how=how, images=True)
