"""A limit that this daemon's kernel does not hold is never claimed, and never dropped in silence."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from xagent_docker.capabilities import capabilities_of
from xagent_docker.daemon import _check

from xagent_core import BackendUnavailableError, NetworkPolicy
from xagent_core.abc.backend import SandboxSpec
from xagent_core.abc.language import Packages
from xagent_core.containers.render import seccomp_profile, unheld

# What `docker info` of a daemon says that holds everything.
INFO: dict[str, Any] = {
    "OSType": "linux",
    "CgroupDriver": "systemd",
    "CgroupVersion": "2",
    "MemoryLimit": True,
    "SwapLimit": True,
    "CpuCfsQuota": True,
    "CpuCfsPeriod": True,
    "PidsLimit": True,
    "SecurityOptions": ["name=seccomp,profile=default", "name=cgroupns"],
    "Runtimes": {"runc": {}},
}
SPEC = SandboxSpec(
    command=("sh",), language="x", image="x", executables=(), packages=Packages(), env=(), memory=2**27, cpus=1.0,
    processes=64, scratch=2**20, scratch_exec=False,
)  # fmt: skip


def test_all_limits_hold() -> None:
    capabilities = capabilities_of(INFO, internet=True)
    assert capabilities.limits == {"memory", "cpus", "processes", "scratch"}
    assert capabilities.networks == {NetworkPolicy.NONE, NetworkPolicy.INTERNET}
    assert capabilities.how["memory"] == "cgroup v2"


@pytest.mark.parametrize(
    ("changes", "lost", "why"),
    [
        ({"SwapLimit": False}, {"memory"}, "swapaccount=1"),
        ({"PidsLimit": False}, {"processes"}, "cgroup v2 has no such control"),
        (
            {"CgroupDriver": "none", "MemoryLimit": False, "CpuCfsQuota": False, "PidsLimit": False},
            {"memory", "cpus", "processes"},
            "a rootless daemon",
        ),
    ],
)
def test_a_limit_that_does_not_hold_is_not_claimed(changes: dict[str, Any], lost: set[str], why: str) -> None:
    capabilities = capabilities_of(INFO | changes, internet=False)
    assert {"memory", "cpus", "processes", "scratch"} - capabilities.limits == lost
    assert all(why in capabilities.how[limit] for limit in lost)


@pytest.mark.parametrize(
    ("warning", "limit"),
    [
        ("Your kernel does not support swap limit capabilities or the cgroup is not mounted. "
         "Memory limited without swap.", "memory"),
        ("Your kernel does not support CPU CFS scheduler or the cgroup is not mounted. Quota discarded.", "cpus"),
        ("Your kernel does not support PIDs limit capabilities or the cgroup is not mounted. "
         "PIDs limit discarded.", "processes"),
    ],
)  # fmt: skip
def test_a_limit_that_is_dropped_at_the_last_moment_is_noticed(warning: str, limit: str) -> None:
    assert unheld([warning], SPEC) == [warning]
    assert unheld([warning], dataclasses.replace(SPEC, unenforced=(limit,))) == []


@pytest.mark.parametrize(
    ("version", "changes", "words"),
    [
        ("1.40", {}, "Docker 20.10 or newer"),
        ("1.41", {"OSType": "windows"}, "Linux containers"),
        ("1.41", {"SecurityOptions": ["name=cgroupns"]}, "cannot filter system calls"),
    ],
)
def test_a_daemon_that_cannot_hold_sandboxes_is_refused(version: str, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(BackendUnavailableError, match=words):
        _check(version, INFO | changes, None)


def test_the_profile_allows_no_system_call_without_and_with_a_condition() -> None:
    profile = seccomp_profile()
    free = {name for rule in profile["syscalls"] if "args" not in rule for name in rule["names"]}
    bound = {name for rule in profile["syscalls"] if "args" in rule for name in rule["names"]}
    assert bound == {"clone", "socket", "personality"}
    assert not free & bound
