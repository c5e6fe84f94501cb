"""One engine a backend for all tests of a module: each asks for `engine` and so runs on every backend."""

from __future__ import annotations

import pytest
import pytest_asyncio

from xagent_core import Engine
from xagent_core.config import load_settings


@pytest_asyncio.fixture(
    scope="module",
    loop_scope="session",
    params=[pytest.param(name, marks=pytest.mark.engine(name)) for name in ("bubblewrap", "docker")],
)
async def engine(request):
    # The user's own configuration has no say in tests.
    async with Engine(backend=request.param, settings=load_settings({"XAGENT_CONFIG": "/dev/null"})) as engine:
        yield engine


@pytest.fixture(params=["python", "javascript", "typescript", "bash", "go"])
def language(request):
    return request.param
