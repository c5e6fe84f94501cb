"""Podman keeps what the contract of a backend promises."""

from __future__ import annotations

import subprocess
from functools import partial

from xagent_podman.backend import PodmanBackend

from xagent_core.owner import Owner
from xagent_core.testing import BackendConformance, fixed


def _own_containers() -> list[str]:
    """This process's containers, asked for without the code under test."""
    command = ["podman", "ps", "--all", "--quiet", f"--filter=label=xagent-owner={Owner.current()}"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


class TestPodman(BackendConformance):
    backend = fixed(PodmanBackend)
    unavailable = fixed(partial(PodmanBackend, base_url="unix:///no/such/socket"))
    leftovers = fixed(_own_containers)
