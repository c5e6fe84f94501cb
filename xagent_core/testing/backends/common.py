"""What the parts of the backends' suite share: one engine a class, sandboxes of one's own command, and marks."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import pytest
import pytest_asyncio

from xagent_core.abc.backend import Backend, Sandbox, SandboxSpec
from xagent_core.abc.language import Language
from xagent_core.config import PoolConfig, Settings
from xagent_core.engine import Engine
from xagent_core.errors import ImageNotFoundError
from xagent_core.hookspecs import hookimpl
from xagent_core.plugins import Plugins
from xagent_core.selection import get_backend
from xagent_core.testing.pytest_plugin import give_up
from xagent_core.testing.suite import Conformance, required_fixture
from xagent_core.types import ExecutionRequest, StreamName

__all__ = [
    "BackendSource",
    "BackendSuite",
    "answers",
    "becomes",
    "gone",
    "make_backend",
    "new_mark",
    "read_until",
    "spec_of",
    "started",
]

BackendSource = str | Callable[..., Backend]
"""A backend's registered name, or what makes one: the class, or a `functools.partial` of it."""

IMAGE: Final = "python:3.13-slim"
PATIENCE: Final = 20.0
"""Seconds after which something that should come is taken for lost, on a machine that does other things too."""


class BackendSuite(Conformance, suite=True, fixtures=("backend", "image", "unavailable", "leftovers")):
    """The fixtures that all parts of the suite use.

    Fixtures:
        backend: Required. The backend's registered name, or what makes one without arguments: the class, or a
            `functools.partial` of it. Another process must be able to import it.
        image: For engines that use images: one with sh, Python 3 and coreutils.
        unavailable: What makes a backend whose engine is not there; None where that cannot be had.
        leftovers: A function that names what the engine, asked without the code under test, holds of this process:
            containers, control groups. By default only processes are looked for.
    """

    backend = required_fixture("a backend's registered name, or what makes one: the class, or a functools.partial")

    @pytest.fixture(scope="class")
    @classmethod
    def image(cls) -> str:
        """The official image of Python; an engine that has one of its own for the language takes that."""
        return IMAGE

    @pytest.fixture(scope="class")
    @classmethod
    def unavailable(cls) -> BackendSource | None:
        """None."""
        return None

    @pytest.fixture(scope="class")
    @classmethod
    def leftovers(cls) -> Callable[[], Collection[str]]:
        """Sees nothing."""
        return lambda: ()

    @pytest_asyncio.fixture(scope="class", loop_scope="class")
    @classmethod
    async def engine(cls, backend: BackendSource, image: str) -> AsyncIterator[Engine]:
        """An engine over the backend that starts each sandbox when it is needed, and knows one language."""
        made = make_backend(backend)
        probe = await made.probe()
        if not probe.available:
            await made.aclose()
            give_up(made.name, str(probe.error(made.name)))
        async with Engine(made, settings=Settings(), plugins=one_language(image), pool=PoolConfig(ready=0)) as engine:
            try:
                await (await made.start(spec_of(engine))).kill()
            except ImageNotFoundError as error:
                give_up(made.name, str(error))
            yield engine


def make_backend(backend: BackendSource, **options: Any) -> Backend:
    """A new backend, with these options beside its own."""
    return get_backend(backend, **options) if isinstance(backend, str) else backend(**options)


def without_pull(backend: BackendSource) -> BackendSource:
    """The same backend, which takes no image from a registry."""
    return partial(make_backend, backend, pull=False)


def one_language(image: str) -> Plugins:
    """Plugins that are Python in that image, and nothing else."""
    language = Language(
        name="python",
        run=("python3", "-B", "{source}"),
        executables=("python3",),
        extensions=(".py",),
        image=image,
        env={"PYTHONUNBUFFERED": "1"},
    )
    plugins = Plugins()
    module = SimpleNamespace(xagent_register_languages=hookimpl(lambda: [language]))
    plugins.add("conformance", "xagent-core", "", lambda: module)
    return plugins


def spec_of(engine: Engine, *command: str, **changes: Any) -> SandboxSpec:
    """The default sandbox for Python, with a first process of one's own, and other changes."""
    if command:
        changes["command"] = command
    return replace(engine.plan(ExecutionRequest(code="", language="python")).spec, **changes)


@contextlib.asynccontextmanager
async def started(engine: Engine, *command: str, **changes: Any) -> AsyncIterator[Sandbox]:
    """A sandbox with that first process, by default the guest; it is killed in the end."""
    async with asyncio.timeout(PATIENCE):
        sandbox = await engine.backend.start(spec_of(engine, *command, **changes))
    try:
        yield sandbox
    finally:
        await sandbox.kill()


async def read_until(
    sandbox: Sandbox, enough: Callable[[Mapping[StreamName, bytearray]], bool]
) -> dict[StreamName, bytes]:
    """What was written on each stream, until it is enough or both have ended."""
    seen: dict[StreamName, bytearray] = {"stdout": bytearray(), "stderr": bytearray()}
    async with asyncio.timeout(PATIENCE):
        while (piece := await sandbox.receive()) is not None:
            stream, data = piece
            assert data, "a piece of output is empty: only the end may have none"
            seen[stream] += data
            if enough(seen):
                break
    return {name: bytes(text) for name, text in seen.items()}


async def answers(sandbox: Sandbox) -> bool:
    """Whether a guest that stands by does what it is told."""
    await sandbox.send(b"echo here >&4\n")
    return (await read_until(sandbox, lambda seen: b"here\n" in seen["stdout"]))["stdout"].endswith(b"here\n")


def new_mark() -> str:
    """A word that no other process has among its arguments."""
    return f"xagent-mark-{random.getrandbits(64):016x}"


def processes(mark: str) -> list[int]:
    """The processes of this machine, those in sandboxes included, that have the mark among their arguments."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has just ended
            if mark.encode() in file.read_bytes():
                found.append(int(file.parent.name))
    return [pid for pid in found if pid != os.getpid()]


async def seen(mark: str, *, within: float = PATIENCE) -> bool:
    """Whether a process with the mark is there within so many seconds."""
    return await becomes(lambda: bool(processes(mark)), within)


async def gone(mark: str, *, within: float) -> bool:
    """Whether no process with the mark is left after so many seconds."""
    return await becomes(lambda: not processes(mark), within)


async def becomes(condition: Callable[[], bool], within: float) -> bool:
    """Whether a condition holds within so many seconds."""
    end = asyncio.get_running_loop().time() + within
    while not condition():
        if asyncio.get_running_loop().time() > end:
            return False
        await asyncio.sleep(0.05)
    return True
