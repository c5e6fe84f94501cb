"""The pytest plugin: what the conformance suites need, and a marker for tests that need a real sandbox engine.

    @pytest.mark.engine("docker")
    async def test_something(): ...

Such a test is skipped where that backend cannot be used. It fails instead where the environment variable
`XAGENT_REQUIRE_ENGINES` (names separated by commas) lists the backend, so that a run which is meant to cover an
engine cannot pass without it. pytest finds this module by itself wherever xagent-core is installed.
"""

from __future__ import annotations

import asyncio
import inspect
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Final, NoReturn

import pytest

from xagent_core.testing.suite import SWITCHES, Conformance, is_suite, problems

__all__ = ["REQUIRE_ENGINES", "give_up"]

REQUIRE_ENGINES: Final = "XAGENT_REQUIRE_ENGINES"
"""The environment variable that turns skipping into failing."""

# pytest wants it before the suites are imported: their asserts then show what they have compared.
pytest.register_assert_rewrite(
    *(f"xagent_core.testing.{suites}" for suites in ("backends", "languages", "queues", "tools"))
)

# A probe gives up after seconds: an engine that is just being started, on a busy machine, may take longer once.
_PROBES_OF_REQUIRED: Final = 3
# What is wrong with each engine that was asked for so far; empty where it can be used.
_PROBED: Final = pytest.StashKey[dict[str, str]]()


def pytest_configure(config: pytest.Config) -> None:
    """Registers the marker."""
    config.addinivalue_line(
        "markers",
        "engine(*names): needs these sandbox backends; skipped where one cannot be used, "
        f"failed where {REQUIRE_ENGINES} lists it",
    )
    config.stash[_PROBED] = {}


@pytest.hookimpl(tryfirst=True)
def pytest_pycollect_makeitem(collector: pytest.Collector, name: str, obj: object) -> None:
    """Refuses an author's class that has changed its suite since the class was made, or that its file switches off."""
    if inspect.isclass(obj) and issubclass(obj, Conformance) and not is_suite(obj):
        around = [mark.name for mark in collector.iter_markers() if mark.name in SWITCHES]
        found = problems(obj) + [f"what it is in is marked {mark}" for mark in around]
        if found:
            raise pytest.Collector.CollectError(f"{name}: {'; '.join(found)}")


def pytest_itemcollected(item: pytest.Item) -> None:
    """Skips the tests that an author has waived, with the reason."""
    suite = getattr(item, "cls", None)
    if inspect.isclass(suite) and issubclass(suite, Conformance):
        reason = suite.suite_waivers.get(getattr(item, "originalname", item.name))
        if reason is not None:
            item.add_marker(pytest.mark.skip(reason=f"waived: {reason}"))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skips or fails a test whose engine is missing, before any of its fixtures is set up."""
    probed = item.config.stash[_PROBED]
    for name in dict.fromkeys(str(arg) for mark in item.iter_markers("engine") for arg in mark.args):
        if name not in probed:
            # A thread, since pytest-asyncio may have an event loop of its own in this one.
            with ThreadPoolExecutor(1) as thread:
                probed[name] = thread.submit(asyncio.run, _missing(name)).result()
        if probed[name]:
            give_up(name, probed[name])


def give_up(name: str, why: str) -> NoReturn:
    """Skips the test that needs an engine which cannot be used, or fails it where that engine is required.

    Args:
        name: The backend's.
        why: What is wrong with it.
    """
    reason = f"engine {name} is needed: {why}"
    if _is_required(name):
        pytest.fail(f"{reason} ({REQUIRE_ENGINES} lists it)", pytrace=False)
    pytest.skip(reason)


def _is_required(name: str) -> bool:
    return name in {required.strip() for required in os.environ.get(REQUIRE_ENGINES, "").split(",")}


async def _missing(name: str) -> str:
    """Why the backend cannot be used here; empty where it can."""
    from xagent_core.errors import XAgentError
    from xagent_core.selection import get_backend

    try:
        backend = get_backend(name)
    except XAgentError as error:
        return str(error)
    try:
        probe = await backend.probe()
        for _ in range(_PROBES_OF_REQUIRED - 1 if _is_required(name) else 0):
            if probe.available:
                break
            probe = await backend.probe()
    finally:
        await backend.aclose()
    return "" if probe.available else str(probe.error(name))
