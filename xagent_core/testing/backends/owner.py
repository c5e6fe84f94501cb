"""A process that owns sandboxes, for tests that end it: `python -m xagent_core.testing.backends.owner`.

It reads a pickled pair of what makes a backend and the specs of sandboxes, starts them, prints their ids, and waits
until its input is closed.
"""

from __future__ import annotations

import asyncio
import pickle
import sys

from xagent_core.testing.backends.common import make_backend

__all__: list[str] = []


async def _main() -> None:
    source, specs = pickle.load(sys.stdin.buffer)  # noqa: S301 - the test that has started this has written it
    backend = make_backend(source)
    sandboxes = [await backend.start(spec) for spec in specs]
    sys.stdout.write(" ".join(sandbox.id for sandbox in sandboxes) + "\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.buffer.read)
    for sandbox in sandboxes:
        await sandbox.kill()
    await backend.aclose()


if __name__ == "__main__":
    asyncio.run(_main())
