"""What every container engine is told of a policy, in the words that they share."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from xagent_core.abc.backend import SandboxSpec
from xagent_core.hardening import ALLOWED_SYSCALLS, DENIED_ERRNO, SYSCALL_RULES

__all__ = ["CPU_PERIOD", "USER", "cpu_quota", "rlimits", "scratch_options", "seccomp_profile", "unheld"]

USER: Final = 1000
"""Programs' user and group. No image needs to know them: the guest has HOME, and all that is writable is everyone's."""

CPU_PERIOD: Final = 100_000
"""Microseconds over which the CPU quota counts."""


# Words of engines' warnings when they drop a limit ("Your kernel does not support swap limit capabilities or the
# cgroup is not mounted. Memory limited without swap."), by the limit that is lost.
_WARNINGS: Final = {"memory": ("memory", "swap"), "cpus": ("cpu", "cfs"), "processes": ("pids",)}


def cpu_quota(spec: SandboxSpec) -> int:
    """Microseconds of each period; the kernel takes no quota under 1 ms."""
    return max(1000, int(spec.cpus * CPU_PERIOD))


def rlimits(spec: SandboxSpec) -> dict[str, int]:
    """The limits of each process, soft and hard, by the names of `ulimit`."""
    return {"nofile": spec.open_files, "fsize": spec.scratch, "core": 0}


def scratch_options(spec: SandboxSpec) -> list[str]:
    """The mount options of the tmpfs on `/tmp`."""
    return ["rw", "nosuid", "nodev", "exec" if spec.scratch_exec else "noexec", f"size={spec.scratch}", "mode=1777"]


def seccomp_profile() -> dict[str, Any]:
    """The system calls that are allowed, as engines read them. Foreign architectures are closed, as none is listed."""
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
    """An engine's warnings that a limit was dropped which the spec wants to be held."""
    return [
        warning
        for warning in warnings
        for limit, words in _WARNINGS.items()
        if limit not in spec.unenforced and any(word in warning.lower() for word in words)
    ]
