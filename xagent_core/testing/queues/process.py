"""A worker in a process of its own, which a test can kill: `python -m xagent_core.testing.queues.process JSON`."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from typing import Any

from xagent_core.queueing.selection import get_queue
from xagent_core.queueing.worker import Worker
from xagent_core.testing.queues.worker import fake_engine

__all__: list[str] = []


async def _main(name: str, options: dict[str, Any], *, slots: int, queues: list[str]) -> None:
    engine, _ = fake_engine()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with engine, get_queue(name, **options) as queue, Worker(queue, engine, slots=slots, queues=queues):
        print("ready", flush=True)  # noqa: T201 - the test waits for it
        await stop.wait()


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    asyncio.run(_main(given["name"], given["options"], slots=given["slots"], queues=given["queues"]))
