"""Owners of sandboxes that are killed at random moments of their lives. Run as a program by `test_killed_owner`.

Arguments: the backend, and then a moment for each owner, in seconds from its start. Each is a fork of this process, so
that it is at work at once. For each, a line of JSON tells its process id, the text of its `Owner`, and the processes
that were below it when it was killed.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time

from tests.backends import descendants, owner_of
from xagent_core import Engine, PoolConfig
from xagent_core.config import load_settings
from xagent_core.selection import get_backend


async def look(backend: str) -> None:
    """Probes, and leaves nothing of it."""
    one = get_backend(backend)
    await one.probe()
    await one.aclose()


async def live(backend: str) -> None:
    """Opens an engine, starts sandboxes ahead, runs programs: all at once and without an end."""
    async with Engine(backend, settings=load_settings({"XAGENT_CONFIG": "/dev/null"}), pool=PoolConfig(ready=2)) as one:

        async def run() -> None:
            while True:
                await one.execute("sleep 0.2 & echo running; sleep 0.1", language="bash")

        await asyncio.gather(run(), run(), one.execute("setsid sleep 60 & sleep 60", language="bash", timeout=90))


def main() -> None:
    """Makes and kills the owners, one after the other."""
    backend, *moments = sys.argv[1:]
    asyncio.run(look(backend))  # all is imported now, once for all of them
    for moment in map(float, moments):
        pid = os.fork()
        if pid == 0:
            asyncio.run(live(backend))
        try:
            owner = owner_of(pid)
            time.sleep(moment)
            # Stopped, it starts nothing that would be missed.
            os.kill(pid, signal.SIGSTOP)
            below = descendants(pid)
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        told = {"pid": pid, "owner": str(owner), "below": [str(process) for process in below]}
        sys.stdout.write(f"{json.dumps(told)}\n")


if __name__ == "__main__":
    main()
