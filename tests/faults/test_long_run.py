"""Many executions in a row leave a process as it was.

2,000 on bubblewrap; as many on Docker and Podman take minutes: `XAGENT_TEST_EXECUTIONS=2000`.
"""

import asyncio
import gc
import logging
import os
import resource
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.backends import EACH_BACKEND, containers, descendants, groups_of
from xagent_core import Engine, PoolConfig
from xagent_core.owner import Owner

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(3600),
    pytest.mark.parametrize("backend", EACH_BACKEND),
    # Whoever measures memory does so alone.
    pytest.mark.xdist_group("load"),
]

logger = logging.getLogger(__name__)

EXECUTIONS = {"bubblewrap": 2000, "docker": 200, "podman": 200}
if "XAGENT_TEST_EXECUTIONS" in os.environ:
    EXECUTIONS = dict.fromkeys(EXECUTIONS, int(os.environ["XAGENT_TEST_EXECUTIONS"]))
WARM_UP = 50


@dataclass(frozen=True, kw_only=True)
class Held:
    """What this process and its engine hold, while no program runs."""

    containers: int
    groups: int
    processes: int
    descriptors: int
    threads: int
    memory: int

    @classmethod
    def now(cls, backend: str) -> "Held":
        gc.collect()
        me = str(Owner.current())
        return cls(
            containers=sum(container.owner == me for container in containers(backend)),
            groups=len(groups_of(os.getpid())),
            processes=len(descendants(os.getpid())),
            descriptors=len(list(Path("/proc/self/fd").iterdir())),
            threads=threading.active_count(),
            memory=int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize(),
        )


async def run(engine: Engine, count: int, *, together: int = 4) -> None:
    """Several at a time, for it is an engine's starts that take long."""
    numbers = iter(range(count))

    async def some() -> None:
        for number in numbers:
            result = await engine.execute(f"print({number})")
            assert result.output == f"{number}\n"

    await asyncio.gather(*(some() for _ in range(together)))


async def test_many_executions_leave_a_process_as_it_was(backend):
    async with Engine(backend, pool=PoolConfig(ready=0)) as engine:

        async def held() -> Held:
            while engine.pool.stats().ending:  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.05)
            return Held.now(backend)

        # The first ones bring what is kept: connections, threads, caches, and pages that the allocator has come by.
        await asyncio.gather(*(asyncio.to_thread(time.sleep, 0.05) for _ in range(40)))
        await run(engine, WARM_UP, together=12)
        before = await held()
        await run(engine, EXECUTIONS[backend])
        # What the last ones have told to end does so in its own time.
        for _ in range(300):
            after = await held()
            counts = ("containers", "groups", "processes", "descriptors", "threads")
            more = [name for name in counts if getattr(after, name) > getattr(before, name) * 1.05]
            if not more:
                break
            await asyncio.sleep(0.1)

    logger.info("%s executions: %s, then %s", EXECUTIONS[backend], before, after)
    assert after.memory < before.memory * 1.05, (before, after)
    assert more == [], (before, after)
