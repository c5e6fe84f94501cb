"""Docker keeps what the contract of a backend promises."""

from __future__ import annotations

from functools import partial

import pytest
from docker.api import APIClient
from docker.utils.utils import kwargs_from_env
from xagent_docker.backend import DockerBackend

from xagent_core.owner import Owner
from xagent_core.testing import BackendConformance, fixed


class TestDocker(BackendConformance):
    backend = fixed(DockerBackend)
    unavailable = fixed(partial(DockerBackend, base_url="unix:///no/such/socket"))

    @pytest.fixture(scope="class")
    @classmethod
    def leftovers(cls):
        """This process's containers, asked for without the code under test."""
        client = APIClient(version="auto", **kwargs_from_env())
        filters = {"label": f"xagent-owner={Owner.current()}"}
        yield lambda: [container["Id"] for container in client.containers(all=True, filters=filters)]
        client.close()
