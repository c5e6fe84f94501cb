"""The shells under which the guest is tested, and a backend for each test."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator

import pytest

from tests.host import SHELLS, HostBackend


@pytest.fixture(params=sorted(SHELLS))
def shell(request: pytest.FixtureRequest) -> str:
    """Each shell that images have as `sh`. Only busybox may be missing, and not under CI."""
    name: str = request.param
    if shutil.which(SHELLS[name][0]) is None:
        assert name == "busybox", f"{name} is part of every system that this project supports"
        assert "CI" not in os.environ, "busybox is required under CI"
        pytest.skip("busybox is not installed: apt-get install busybox")
    return name


@pytest.fixture
async def host(shell: str) -> AsyncIterator[HostBackend]:
    """A backend whose guests run under that shell; they are gone when the test ends."""
    backend = HostBackend(shell)
    yield backend
    await backend.aclose()
