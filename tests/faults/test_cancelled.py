"""A caller that is cancelled, at each point where it can be: what it had begun is undone, and nothing of it is left."""

import asyncio
import gc
import os
import threading
import types
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from tests.backends import EACH_BACKEND, containers, descendants, groups_of
from xagent_core import Engine, PoolConfig
from xagent_core.owner import Owner

pytestmark = pytest.mark.slow


@types.coroutine
def counted(work: Coroutine[Any, Any, Any], suspended: Callable[[], None]):
    """Runs a coroutine, and tells each time that it waits for something."""
    step: Callable[[Any], Any]
    step, given = work.send, None
    while True:
        try:
            waits_for = step(given)
        except StopIteration as end:
            return end.value
        suspended()
        try:
            step, given = work.send, (yield waits_for)
        except BaseException as error:
            step, given = work.throw, error


async def cancelled_at(step: int, work: Coroutine[Any, Any, Any]) -> bool:
    """Cancels the work when it waits for the time of that number; whether it came so far."""
    waits = 0
    reached = False

    def suspended() -> None:
        nonlocal waits, reached
        waits += 1
        if waits == step + 1:
            reached = True
            # When it waits indeed: the loop's next turn, before anything else can have happened.
            asyncio.get_running_loop().call_soon(task.cancel)

    async def run() -> Any:
        return await counted(work, suspended)

    task = asyncio.create_task(run())
    await asyncio.wait([task])
    if not reached:
        task.result()
    assert task.cancelled() is reached, "a cancellation was swallowed"
    return reached


def held(backend: str) -> dict[str, Any]:
    """What this process has open, inside and outside of itself."""
    gc.collect()
    me = str(Owner.current())
    return {
        "tasks": [task for task in asyncio.all_tasks() if task is not asyncio.current_task()],
        "threads": sorted(
            thread.name for thread in threading.enumerate() if not thread.name.startswith(("asyncio_", "ThreadPool"))
        ),
        "descriptors": sorted(str(path.name) for path in Path("/proc/self/fd").iterdir()),
        "processes": descendants(os.getpid()),
        "groups": groups_of(os.getpid()),
        "containers": [container for container in containers(backend) if container.owner == me],
    }


def more(now: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
    """What is there now and was not before; descriptors count, since their numbers are given again."""
    found = {name: [one for one in things if one not in before[name]] for name, things in now.items()}
    if len(now["descriptors"]) <= len(before["descriptors"]):
        del found["descriptors"]
    return {name: things for name, things in found.items() if things}


async def execute(engine: Engine) -> None:
    result = await engine.execute("echo done >out; cat out", language="bash", collect=["out"])
    assert (result.output, len(result.files)) == ("done\n", 1)


async def session(engine: Engine) -> None:
    async with engine.session("bash") as session:
        await session.execute("x=1")
        await session.write_file("a", b"a")
        assert (await session.execute("echo $x; cat a")).output == "1\na"


@pytest.mark.parametrize("use", [execute, session])
@pytest.mark.parametrize("backend", EACH_BACKEND)
async def test_nothing_is_left_of_a_call_that_is_cancelled_at_any_step(backend, use):
    async def whole() -> None:
        async with Engine(backend, pool=PoolConfig(ready=0)) as engine:
            await use(engine)

    await whole()
    await asyncio.sleep(1)  # A thread that is told to end does so in its own time.
    before, reached = held(backend), []
    # How often it waits depends on what comes in one piece: it is over when three tries in a row get no further.
    while not reached or any(reached[-3:]):
        step = len(reached)
        reached.append(await cancelled_at(step, whole()))
        for _ in range(300):
            if not more(held(backend), before):
                break
            await asyncio.sleep(0.1)
        assert more(held(backend), before) == {}, f"cancelled where it waits for the {step + 1}th time"
    assert reached.count(True) > 5
