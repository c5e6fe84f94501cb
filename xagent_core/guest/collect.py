"""Brings files out of a sandbox."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from xagent_core.abc.backend import Sandbox
from xagent_core.errors import SandboxLostError
from xagent_core.guest.archive import ArchiveReader
from xagent_core.guest.patterns import matches
from xagent_core.guest.scanner import Mark, Scanner
from xagent_core.guest.wire import collect_message, new_boundary
from xagent_core.types import OutputFile

__all__ = ["collect"]

_SECONDS: Final = 10.0


async def collect(
    sandbox: Sandbox, patterns: Sequence[str], *, limit: int, end_jobs: bool = True
) -> tuple[tuple[OutputFile, ...], bool]:
    """The regular files of the workspace that match.

    Args:
        sandbox: Its program has ended.
        patterns: Relative to the workspace; `*`, `?`, `[...]` and `**`.
        limit: Bytes of all files together.
        end_jobs: Whether what still runs is killed first, as it is when the sandbox will not be used again.

    Returns:
        The files, and whether they are all that matched.
    """
    boundary = new_boundary()
    scanner = Scanner(boundary)
    archive = ArchiveReader(lambda path: matches(path, patterns), limit)
    begun = ended = False
    try:
        async with asyncio.timeout(_SECONDS):
            await sandbox.send(collect_message(patterns, boundary=boundary, end_jobs=end_jobs))
            while not ended and (piece := await sandbox.receive()) is not None:
                for part in scanner.feed(piece[1]) if piece[0] == "stdout" else ():
                    if isinstance(part, Mark):
                        archive.complete &= part.code == 0
                        # What comes before the first mark was written by processes that the program left.
                        begun, ended = True, begun
                    elif begun:
                        archive.feed(part)
    except (TimeoutError, SandboxLostError):
        ended = False
    return archive.files, ended and archive.complete
