"""Tells from `podman info` which limits hold: a limit that is dropped is never claimed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from xagent_core.abc.backend import Capabilities
from xagent_core.types import NetworkPolicy

__all__ = ["capabilities_of", "reaches_internet"]


def capabilities_of(info: Mapping[str, Any], *, internet: bool) -> Capabilities:
    """What sandboxes of this service are held to.

    Args:
        info: What `podman info` tells.
        internet: Whether programs may be given a network.

    Returns:
        The limits that hold, and in `how` why the others do not.
    """
    host = info["host"]
    cgroup, rootless = f"cgroup {host['cgroupVersion']}", host["security"]["rootless"]
    if rootless and host["cgroupVersion"] == "v1":
        controllers, missing = set(), "rootless Podman holds limits only with cgroup v2 and delegation by systemd"
    else:
        controllers = set(host.get("cgroupControllers") or ())
        missing = "the controller is not delegated to this user" if rootless else f"{cgroup} has no such controller"
    how, held = {"scratch": "tmpfs"}, {"scratch"}
    for limit, controller in {"memory": "memory", "cpus": "cpu", "processes": "pids"}.items():
        if controller in controllers:
            held.add(limit)
        how[limit] = cgroup if controller in controllers else f"not held: {missing}"
    networks = {NetworkPolicy.NONE} | ({NetworkPolicy.INTERNET} if internet else set())
    return Capabilities(limits=frozenset(held), networks=frozenset(networks), how=how, images=True)


def reaches_internet(info: Mapping[str, Any]) -> bool:
    """Whether programs may be given a network: a rootless Podman needs a program for it."""
    host = info["host"]
    if not host["security"]["rootless"]:
        return "bridge" in (info.get("plugins", {}).get("network") or ())
    return any((host.get(program) or {}).get("executable") for program in ("pasta", "slirp4netns"))
