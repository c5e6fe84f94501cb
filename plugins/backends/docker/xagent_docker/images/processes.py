"""Runs the programs that images are made with, and ends them in good order when nobody waits any more."""

from __future__ import annotations

import asyncio
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = ["Finished", "run_program"]


@dataclass(frozen=True, slots=True)
class Finished:
    """How a program ended: its exit status, and what it wrote to stderr."""

    status: int
    log: str


async def run_program(command: Sequence[str], env: Mapping[str, str] | None = None) -> Finished:
    """Runs a program to its end; its standard output is dropped.

    When the caller is cancelled, the program gets SIGTERM and the time to clean up: mmdebstrap has mounts to undo.

    Args:
        command: Its argv.
        env: Its environment, else this process's.

    Raises:
        FileNotFoundError: There is no such program.
    """
    process = await asyncio.create_subprocess_exec(*command, stdin=DEVNULL, stdout=DEVNULL, stderr=PIPE, env=env)
    try:
        log = (await process.communicate())[1]
    except asyncio.CancelledError:
        if process.returncode is None:
            process.terminate()
        await process.wait()
        raise
    return Finished(process.returncode or 0, log.decode("utf-8", "replace"))
