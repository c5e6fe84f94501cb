"""Podman keeps what the contract of a backend promises."""

from __future__ import annotations

import subprocess
from functools import partial

import pytest
from xagent_podman.backend import PodmanBackend

from xagent_core.owner import Owner
from xagent_core.testing import BackendConformance


class TestPodman(BackendConformance):
    @pytest.fixture(scope="class")
    @classmethod
    def backend(cls):
        return PodmanBackend

    @pytest.fixture(scope="class")
    @classmethod
    def unavailable(cls):
        return partial(PodmanBackend, base_url="unix:///no/such/socket")

    @pytest.fixture(scope="class")
    @classmethod
    def leftovers(cls):
        """This process's containers, asked for without the code under test."""
        return _own_containers


def _own_containers() -> list[str]:
    command = ["podman", "ps", "--all", "--quiet", f"--filter=label=xagent-owner={Owner.current()}"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
