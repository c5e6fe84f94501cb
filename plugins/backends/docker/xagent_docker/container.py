"""Renders a sandbox's policy as the Engine API's container configuration."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from xagent_core.abc.backend import SandboxSpec
from xagent_core.hardening import ALLOWED_SYSCALLS, DENIED_ERRNO, SYSCALL_RULES
from xagent_core.types import NetworkPolicy

__all__ = ["container_config", "seccomp_profile", "unheld"]

# No image needs to know this user: the guest's environment has HOME, and all that is writable is open to everyone.
_UID: Final = 1000
_CPU_PERIOD: Final = 100_000

# Words of the daemon's warnings when it drops a limit ("Your kernel does not support swap limit capabilities or the
# cgroup is not mounted. Memory limited without swap."), by the limit that is lost.
_WARNINGS: Final = {"memory": ("memory", "swap"), "cpus": ("cpu", "cfs"), "processes": ("pids",)}


def container_config(
    spec: SandboxSpec,
    *,
    image: str,
    volumes: Iterable[str],
    labels: Mapping[str, str],
    runtime: str | None,
    network: str,
) -> dict[str, Any]:
    """The body of the request that creates a container.

    Args:
        spec: The policy.
        image: The image.
        volumes: Paths that the image declares as volumes. Docker would make each a folder on the host's disk that
            can be written to without a limit; an empty read-only tmpfs takes its place.
        labels: Put on the container.
        runtime: The OCI runtime, else the daemon's default.
        network: The Docker network for programs that may reach the internet.

    Returns:
        What ContainerCreate of the Engine API, version 1.41 or newer, takes.
    """
    # The owner matters where the image has no /tmp: runc then gives the mount the mode 755 in spite of what it says.
    mode = f"mode=1777,uid={_UID},gid={_UID}"
    tmp = f"rw,nosuid,nodev,{'exec' if spec.scratch_exec else 'noexec'},size={spec.scratch},{mode}"
    offline = spec.network is NetworkPolicy.NONE
    host: dict[str, Any] = {
        "AutoRemove": True,
        "ReadonlyRootfs": True,
        "Tmpfs": dict.fromkeys(volumes, "ro,nosuid,nodev,noexec,size=4k") | {"/tmp": tmp},  # noqa: S108
        "CapDrop": ["ALL"],
        "Privileged": False,
        "SecurityOpt": ["no-new-privileges", f"seccomp={json.dumps(seccomp_profile())}"],
        "Memory": spec.memory,
        "MemorySwap": spec.memory,
        "CpuPeriod": _CPU_PERIOD,
        # The kernel takes no quota under 1 ms.
        "CpuQuota": max(1000, int(spec.cpus * _CPU_PERIOD)),
        "PidsLimit": spec.processes,
        "Ulimits": [
            {"Name": name, "Soft": value, "Hard": value}
            for name, value in (("nofile", spec.open_files), ("fsize", spec.scratch), ("core", 0))
        ],
        "IpcMode": "private",
        "ShmSize": spec.scratch,
        "CgroupnsMode": "private",
        "LogConfig": {"Type": "none"},
        "Init": False,
    }
    if runtime:
        host["Runtime"] = runtime
    if not offline:
        host["NetworkMode"] = network
    return {
        "Image": image,
        "Entrypoint": list(spec.command),
        "Cmd": [],
        "Env": [f"{name}={value}" for name, value in spec.env],
        "User": f"{_UID}:{_UID}",
        "WorkingDir": "/",
        "Hostname": "sandbox",
        "Labels": dict(labels),
        # Faster than the network mode `none`, which makes the daemon start itself again as a hook.
        "NetworkDisabled": offline,
        "Healthcheck": {"Test": ["NONE"]},
        "Tty": False,
        "OpenStdin": True,
        "StdinOnce": True,
        "AttachStdin": True,
        "AttachStdout": True,
        "AttachStderr": True,
        "HostConfig": host,
    }


def seccomp_profile() -> dict[str, Any]:
    """Core's list of system calls in Docker's format. Foreign architectures are closed, as none is listed."""
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": DENIED_ERRNO,
        "syscalls": [
            {"names": list(ALLOWED_SYSCALLS), "action": "SCMP_ACT_ALLOW"},
            *(
                {
                    "names": [rule.syscall],
                    "action": "SCMP_ACT_ALLOW",
                    "args": [
                        {"index": rule.argument, "op": "SCMP_CMP_EQ", "value": rule.value}
                        if rule.comparison == "equal"
                        else {
                            "index": rule.argument,
                            "op": "SCMP_CMP_MASKED_EQ",
                            "value": rule.value,
                            "valueTwo": 0,
                        }
                    ],
                }
                for rule in SYSCALL_RULES
            ),
            # Daemons before 23.0 do not know defaultErrnoRet and answer EPERM, at which C libraries give up
            # threads instead of falling back to clone.
            {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": DENIED_ERRNO},
        ],
    }


def unheld(warnings: Iterable[str], spec: SandboxSpec) -> list[str]:
    """The daemon's warnings that a limit was dropped which the spec wants to be held."""
    return [
        warning
        for warning in warnings
        for limit, words in _WARNINGS.items()
        if limit not in spec.unenforced and any(word in warning.lower() for word in words)
    ]
