"""A limit that Podman does not hold for this user is never claimed."""

from __future__ import annotations

from typing import Any

import pytest
from xagent_podman.capabilities import capabilities_of, reaches_internet
from xagent_podman.service import _check

from xagent_core import BackendUnavailableError, NetworkPolicy


def info(*, rootless: bool = False, cgroup: str = "v2", controllers: str = "cpu memory pids", **host: Any) -> Any:
    """What `podman info` says of a service."""
    security = {"rootless": rootless, "seccompEnabled": True}
    return {
        "host": {"security": security, "cgroupVersion": cgroup, "cgroupControllers": controllers.split(), **host},
        "plugins": {"network": ["bridge"]},
        "version": {"Version": "4.3.1"},
    }


def test_all_limits_hold() -> None:
    capabilities = capabilities_of(info(), internet=True)
    assert capabilities.limits == {"memory", "cpus", "processes", "scratch"}
    assert capabilities.networks == {NetworkPolicy.NONE, NetworkPolicy.INTERNET}
    assert capabilities.how["memory"] == "cgroup v2"


@pytest.mark.parametrize(
    ("service", "lost", "why"),
    [
        (info(rootless=True, cgroup="v1"), {"memory", "cpus", "processes"}, "only with cgroup v2 and delegation"),
        (info(rootless=True, controllers="memory pids"), {"cpus"}, "not delegated to this user"),
        (info(cgroup="v1", controllers="cpu memory"), {"processes"}, "cgroup v1 has no such controller"),
    ],
)
def test_a_limit_that_does_not_hold_is_not_claimed(service: Any, lost: set[str], why: str) -> None:
    capabilities = capabilities_of(service, internet=False)
    assert {"memory", "cpus", "processes", "scratch"} - capabilities.limits == lost
    assert all(why in capabilities.how[limit] for limit in lost)


def test_a_rootless_network_needs_a_program() -> None:
    assert reaches_internet(info())
    assert not reaches_internet(info(rootless=True, slirp4netns={"executable": ""}))
    assert reaches_internet(info(rootless=True, pasta={"executable": "/usr/bin/pasta"}))


def test_a_service_that_cannot_hold_sandboxes_is_refused() -> None:
    old = info() | {"version": {"Version": "3.4.4"}}
    with pytest.raises(BackendUnavailableError, match=r"this is Podman 3\.4\.4, and 4\.3 is needed"):
        _check(old, None)
    bare = info()
    bare["host"]["security"]["seccompEnabled"] = False
    with pytest.raises(BackendUnavailableError, match="cannot filter system calls"):
        _check(bare, None)
