"""What dead owners left on real engines: who takes it, who says so, and what is not touched beside it."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys

import pytest

from tests.backends import EACH_BACKEND, containers, descendants, groups_of, owner_of, until
from xagent_core import Engine, PoolConfig
from xagent_core.testing.backends.common import answers, gone, new_mark, processes, seen, spec_of, started
from xagent_core.testing.backends.owners import owner_process

pytestmark = pytest.mark.slow

ROUNDS = 12
# It does not hear of its owner's end, as the guest does.
DEAF = ("sh", "-c", "while :; do sleep 1000; done")


def clean(backend: str) -> list[str]:
    """What an operator is told."""
    command = [sys.executable, "-m", "xagent_core.cli", "clean", "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, env=os.environ | {"XAGENT_CONFIG": "/dev/null"}, check=True)
    return json.loads(done.stdout)["removed"][backend]


def left_by(backend: str, owner) -> list[str]:
    found = [container.id for container in containers(backend) if container.owner == str(owner)]
    return [*found, *groups_of(owner.pid)]


def crash(owner: int) -> None:
    """Ends a process and its helpers, at once, as a machine that runs out of memory may: bubblewrap's clean up."""
    os.kill(owner, signal.SIGSTOP)
    for pid in [*(one.pid for one in descendants(owner)), owner]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("backend", EACH_BACKEND)
async def test_clean_takes_and_names_what_the_dead_left_and_nothing_of_the_living(backend, monkeypatch):
    # Engines reap too, and what another one was first to remove is not told: this one does not, others may.
    monkeypatch.setattr("xagent_core.engine._REAP_SECONDS", 3600)
    living, lines, told = new_mark(), [], []
    async with (
        Engine(backend, pool=PoolConfig(ready=0)) as engine,
        started(engine) as own,
        owner_process(backend, spec_of(engine, *DEAF, living)) as neighbour,
    ):
        assert await seen(living)
        running = asyncio.create_task(engine.execute("import time; time.sleep(4); print('lived')", timeout=60))
        for _ in range(ROUNDS):
            mark = new_mark()
            async with owner_process(backend, spec_of(engine, *DEAF, mark)) as process:
                assert await seen(mark)
                owner = owner_of(process.pid)
                assert left_by(backend, owner)
                crash(owner.pid)
                process.wait()
                lines += await asyncio.to_thread(clean, backend)
            assert await gone(mark, within=30)
            assert left_by(backend, owner) == []
            told = [line for line in lines if f"process {owner.pid}," in line]
            if told:
                break
        # Each thing once; whoever lives is not among them.
        assert len(told) == 1
        assert len(lines) == len(set(lines))
        assert not [line for line in lines if f"process {neighbour.pid}," in line or own.id in line]
        assert processes(living)
        assert left_by(backend, owner_of(neighbour.pid))
        assert await answers(own)
        assert (await running).output == "lived\n"
        assert not set(lines) & set(await asyncio.to_thread(clean, backend))


@pytest.mark.parametrize("backend", EACH_BACKEND)
async def test_any_later_engine_takes_it_without_being_told(backend):
    mark = new_mark()
    async with Engine(backend, pool=PoolConfig(ready=0)) as engine:
        spec = spec_of(engine, *DEAF, mark)
    async with owner_process(backend, spec) as process:
        assert await seen(mark)
        owner = owner_of(process.pid)
        crash(owner.pid)
        process.wait()
        async with Engine(backend, pool=PoolConfig(ready=0)):
            await until(lambda: not left_by(backend, owner))
    assert not processes(mark)
