"""Programs of Debian's that the tests of the deployment start, and where the deployment is."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

DEPLOY = Path(__file__).parents[2] / "deploy"


@pytest.fixture(scope="session")
def deploy() -> Path:
    return DEPLOY


@pytest.fixture(scope="session")
def program() -> Callable[[str], str]:
    """The path of a program; where it is missing the test is skipped, but not where engines are required."""

    def find(name: str) -> str:
        if found := shutil.which(name):
            return found
        if os.environ.get("XAGENT_REQUIRE_ENGINES"):
            pytest.fail(f"{name} is missing")
        pytest.skip(f"{name} is missing")

    return find
