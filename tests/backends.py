"""The first-party backends, and what is on the host of each: tests that hold on every backend begin here."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from xagent_core.owner import Owner

BACKENDS = ("bubblewrap", "docker", "podman")
# Core does the same on each, whatever the version of Python: one of them is enough for the default run.
EACH_BACKEND = [
    pytest.param(name, marks=[pytest.mark.engine(name), *([pytest.mark.slow] if name != BACKENDS[0] else [])])
    for name in BACKENDS
]
_FILTER = "xagent-sandbox=true"


@dataclass(frozen=True, kw_only=True)
class Container:
    """One of an engine's own, as the engine tells of it without the code under test."""

    id: str
    state: str
    owner: str


async def until(condition: Callable[[], object], *, within: float = 30) -> None:
    """Waits until something is so.

    Raises:
        TimeoutError: It was not within so many seconds.
    """
    async with asyncio.timeout(within):
        while True:
            if condition():
                return
            await asyncio.sleep(0.02)


def containers(backend: str) -> list[Container]:
    """All of xagent's containers on a backend, whoever owns them."""
    # Podman's own program, which needs no service, and not the code under test.
    how = {"docker": _docker_containers, "podman": _podman_containers}
    return how[backend]() if backend in how else []


def _docker_containers() -> list[Container]:
    import docker

    with contextlib.closing(docker.from_env()) as client:
        found = client.api.containers(all=True, filters={"label": _FILTER})
    return [
        Container(id=entry["Id"], state=entry["State"], owner=entry["Labels"].get("xagent-owner", ""))
        for entry in found
    ]


def _podman_containers() -> list[Container]:
    command = ["podman", "ps", "--all", "--format", "json", "--filter", f"label={_FILTER}"]
    found = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout or "[]")
    return [
        Container(id=entry["Id"], state=entry["State"], owner=entry["Labels"].get("xagent-owner", ""))
        for entry in found
    ]


def groups_of(pid: int) -> list[str]:
    """The control groups that a process's sandboxes have outside of containers."""
    names = ((path, path.rpartition("/")[2]) for path, _, _ in os.walk("/sys/fs/cgroup"))
    return [path for path, name in names if f":{pid}:" in name or name.startswith(f"{pid}-")]


def owner_of(pid: int) -> Owner:
    """A process as the owner of sandboxes, by which it can be known again.

    Raises:
        OSError: It has ended.
    """
    me = Owner.current()
    started = int(Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()[19])
    return Owner(me.boot, me.namespace, pid, started)


def descendants(pid: int) -> list[Owner]:
    """The processes below a process."""
    found = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in map(int, (task / "children").read_text().split()):
                with contextlib.suppress(OSError):
                    found += [owner_of(child), *descendants(child)]
    return found
