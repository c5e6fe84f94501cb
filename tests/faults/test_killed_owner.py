"""What a process that is killed leaves: nothing, although nobody is there to clean up, and not at others' expense."""

import asyncio
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.backends import EACH_BACKEND, containers, descendants, groups_of
from xagent_core import Engine, ExecutionRequest, PoolConfig
from xagent_core.owner import Owner
from xagent_core.testing.backends.common import answers

pytestmark = pytest.mark.slow

MOMENTS = 20
SECONDS = 30
NEVER_STARTED = ("created", "initialized")  # the second is Podman's, from the moment when streams are attached
ROOT = Path(__file__).parents[2]


def killed_owners(backend: str) -> list[dict]:
    """Owners at work, each killed at some moment between its first steps and two seconds of work."""
    moments = [str(round(random.uniform(0, 2) ** 2 / 2, 3)) for _ in range(MOMENTS)]
    program = [sys.executable, "-m", "tests.faults.owners", backend, *moments]
    done = subprocess.run(program, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True, timeout=120)
    return [
        json.loads(line) | {"moment": moment} for line, moment in zip(done.stdout.splitlines(), moments, strict=True)
    ]


def left_by(backend: str, owners: list[dict], *, created: bool) -> list[str]:
    """What there is of owners: processes, control groups, and containers, those never started if asked for."""
    left, found, me = [], containers(backend), Owner.current()
    for owner in owners:
        parts = [f"control group {path}" for path in groups_of(owner["pid"])]
        parts += [f"process {name}" for name in owner["below"] if Owner.parse(name).state(seen_from=me) == "alive"]
        parts += [
            f"container {container.id} ({container.state})"
            for container in found
            if container.owner == owner["owner"] and (created or container.state not in NEVER_STARTED)
        ]
        left += [f"{part} of the owner that was killed after {owner['moment']} s" for part in parts]
    return left


async def none_left(backend: str, owners: list[dict]) -> list[str]:
    """What is left when they have had their time."""
    for _ in range(SECONDS * 5):
        if not left_by(backend, owners, created=False):
            break
        await asyncio.sleep(0.2)
    return left_by(backend, owners, created=False)


@pytest.mark.parametrize("backend", EACH_BACKEND)
async def test_nothing_of_a_killed_owner_is_left_and_others_live_on(backend, monkeypatch):
    # The neighbour is no help: it reaps as it opens, and when it is told to.
    monkeypatch.setattr("xagent_core.engine._REAP_SECONDS", 3600)
    async with Engine(backend, pool=PoolConfig(ready=0)) as neighbour:
        sandbox = await neighbour.backend.start(neighbour.plan(ExecutionRequest(code="", language="bash")).spec)
        try:
            owners = await asyncio.to_thread(killed_owners, backend)
            assert await none_left(backend, owners) == []
            # A container that was made and never started has nobody inside who could notice: that is for a reaper.
            await neighbour.backend.reap()
            assert left_by(backend, owners, created=True) == []

            assert await answers(sandbox)
        finally:
            await sandbox.kill()


@pytest.mark.parametrize("backend", EACH_BACKEND)
def test_an_owner_that_works_would_be_seen(backend):
    with subprocess.Popen([sys.executable, "-m", "tests.faults.owners", backend, "30"], cwd=ROOT) as owners:
        try:
            seen = []
            while owners.poll() is None and not seen:
                time.sleep(0.1)
                below = descendants(owners.pid)
                known = [{"pid": one.pid, "owner": str(one), "below": [], "moment": 30} for one in below]
                seen = left_by(backend, known, created=False)
        finally:
            # The owner is below the process that was started, and would live on without it.
            for one in descendants(owners.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(one.pid, signal.SIGKILL)
            owners.kill()
    assert seen
