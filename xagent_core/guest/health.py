"""Asks a sandbox that stands by whether it still lives."""

from __future__ import annotations

import asyncio

from xagent_core.abc.backend import Sandbox
from xagent_core.errors import SandboxLostError
from xagent_core.guest.scanner import Mark, Scanner
from xagent_core.guest.wire import new_boundary, ping_message
from xagent_core.types import StreamName

__all__ = ["is_alive"]


async def is_alive(sandbox: Sandbox, *, within: float) -> bool:
    """Whether a sandbox that stands by still answers.

    Args:
        sandbox: It has run nothing.
        within: Seconds that it may take.

    Returns:
        True when it answered in time.
    """
    boundary = new_boundary()
    marked: set[StreamName] = set()
    scanners = {"stdout": Scanner(boundary), "stderr": Scanner(boundary)}
    try:
        async with asyncio.timeout(within):
            await sandbox.send(ping_message(boundary))
            while len(marked) < 2 and (piece := await sandbox.receive()) is not None:
                if any(isinstance(part, Mark) for part in scanners[piece[0]].feed(piece[1])):
                    marked.add(piece[0])
    except (TimeoutError, SandboxLostError):
        return False
    return len(marked) == 2
