"""Asks a guest something that has a mark for an answer: whether it lives, which program it lacks."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from xagent_core.abc.backend import Sandbox
from xagent_core.errors import SandboxLostError
from xagent_core.guest.scanner import Mark, Scanner
from xagent_core.guest.wire import new_boundary, ping_message, programs_message
from xagent_core.types import StreamName

__all__ = ["answer", "is_alive", "missing_program"]


async def answer(sandbox: Sandbox, message: bytes, *, boundary: str, within: float) -> Mark | None:
    """Sends a message that runs nothing, and waits for its mark on both streams.

    Args:
        sandbox: No call runs in it.
        message: Its answer's marks begin with the boundary.
        boundary: From `new_boundary`.
        within: Seconds that it may take.

    Returns:
        The mark; None where it did not come in time, or the sandbox is gone.
    """
    marks: dict[StreamName, Mark] = {}
    scanners = {"stdout": Scanner(boundary), "stderr": Scanner(boundary)}
    try:
        async with asyncio.timeout(within):
            await sandbox.send(message)
            while len(marks) < 2 and (piece := await sandbox.receive()) is not None:
                for part in scanners[piece[0]].feed(piece[1]):
                    if isinstance(part, Mark):
                        marks[piece[0]] = part
    except (TimeoutError, SandboxLostError):
        return None
    return marks["stdout"] if len(marks) == 2 else None


async def is_alive(sandbox: Sandbox, *, within: float) -> bool:
    """Whether a sandbox that stands by still answers.

    Args:
        sandbox: It has run nothing.
        within: Seconds that it may take.

    Returns:
        True when it answered in time.
    """
    boundary = new_boundary()
    return await answer(sandbox, ping_message(boundary), boundary=boundary, within=within) is not None


async def missing_program(sandbox: Sandbox, names: Sequence[str], *, within: float) -> str | None:
    """Which program a sandbox lacks.

    Args:
        sandbox: No call runs in it.
        names: Those that must be on its PATH.
        within: Seconds that the answer may take.

    Returns:
        The first that is missing; None where all are there, or it does not answer.
    """
    boundary = new_boundary()
    mark = await answer(sandbox, programs_message(names, boundary=boundary), boundary=boundary, within=within)
    return names[mark.code - 1] if mark is not None and 0 < mark.code <= len(names) else None
