"""What the tests of the backend share: two languages made here, and an engine over the real bwrap."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from xagent_bubblewrap.backend import BubblewrapBackend

from xagent_core import Engine, Language, PoolConfig, hookimpl
from xagent_core.config import Settings
from xagent_core.plugins import Plugins

LANGUAGES = (
    Language(name="python", run=("python3", "{source}"), executables=("python3",), extensions=(".py",), standby=True),
    Language(name="sh", run=("sh", "{source}"), executables=("sh",), extensions=(".sh",)),
    Language(name="none", run=("no-such-program",), executables=("no-such-program",), extensions=(".none",)),
)


def own_plugins() -> Plugins:
    """The languages of these tests, and nothing that is installed."""
    found = Plugins()
    module = SimpleNamespace(xagent_register_languages=hookimpl(lambda: LANGUAGES))
    found.add("test", "test", "0", lambda: module)
    assert not found.failures
    return found


@pytest.fixture
def plugins() -> Plugins:
    return own_plugins()


@pytest.fixture
def make_engine(plugins: Plugins) -> Callable[..., Engine]:
    def make(backend: BubblewrapBackend | None = None, *, ready: int = 0) -> Engine:
        return Engine(
            backend or BubblewrapBackend(), settings=Settings(), plugins=plugins, pool=PoolConfig(ready=ready)
        )

    return make


@pytest.fixture
async def engine(make_engine: Callable[..., Engine]) -> AsyncIterator[Engine]:
    async with make_engine() as engine:
        yield engine


@pytest.fixture
def groups_of() -> Callable[[int], list[str]]:
    """Finds the control groups of a process's backends and of their sandboxes."""

    def find(pid: int) -> list[str]:
        names = ((path, path.rpartition("/")[2]) for path, _, _ in os.walk("/sys/fs/cgroup"))
        return [path for path, name in names if f":{pid}:" in name or name.startswith(f"{pid}-")]

    return find


def children() -> list[str]:
    found = []
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):  # this thread has just ended
            found += (task / "children").read_text().split()
    return found


@pytest.fixture
def leftovers(groups_of: Callable[[int], list[str]]) -> Callable[[], dict[str, object]]:
    """What this process holds: open descriptors, children and control groups; to be the same before and after."""

    def look() -> dict[str, object]:
        gc.collect()
        return {
            "descriptors": len(list(Path("/proc/self/fd").iterdir())),
            "children": children(),
            "cgroups": groups_of(os.getpid()),
        }

    return look


@pytest.fixture(scope="session")
def project_python_path() -> str:
    return os.pathsep.join(path for path in sys.path if path)
