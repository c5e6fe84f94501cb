"""One engine a backend for all language tests: each test asks for `engine` and so runs on every backend."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import pytest_asyncio

from tests.backends import EACH_BACKEND
from xagent_core import Engine, ImageNotFoundError
from xagent_core.config import load_settings
from xagent_core.testing.pytest_plugin import REQUIRE_ENGINES


def pytest_collection_modifyitems(items):
    """The first test to need Go waits until its library is built, which takes minutes on a busy machine."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.timeout(900))
            # Podman runs the images that Docker does: two languages show that it does.
            parameters = item.callspec.params if hasattr(item, "callspec") else {}
            if parameters.get("engine") == "podman" and parameters.get("language") not in ("python", "bash"):
                item.add_marker(pytest.mark.slow)


@pytest_asyncio.fixture(scope="session", loop_scope="session", params=EACH_BACKEND)
async def engine(request):
    # The user's own configuration has no say in tests.
    async with Engine(backend=request.param, settings=load_settings({"XAGENT_CONFIG": "/dev/null"})) as engine:
        if missing := await missing_image(engine):
            give_up = pytest.fail if request.param in os.environ.get(REQUIRE_ENGINES, "") else pytest.skip
            give_up(f"{missing} `xagent images build` makes all that these tests need.")
        yield engine


async def missing_image(engine):
    """Why this backend cannot run every language yet; empty where it can."""
    for name in ("python", "javascript", "typescript", "bash", "go"):
        try:
            result = await engine.execute(engine.plugins.languages[name].hello, language=name)
        except ImageNotFoundError as error:
            return str(error)
        if result.status == "timeout":
            return f"{name} took more than {result.execution_time:.0f} s, since its library was not built before."
    return ""


@pytest.fixture(params=["python", "javascript", "typescript", "bash", "go"])
def language(request):
    return request.param
