"""Brings files out of a sandbox."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from typing import Final

from xagent_core.abc.backend import Sandbox
from xagent_core.errors import SandboxLostError
from xagent_core.guest.archive import ArchiveReader
from xagent_core.guest.patterns import matches
from xagent_core.guest.scanner import Mark, Scanner
from xagent_core.guest.wire import collect_message, new_boundary
from xagent_core.types import MIB, OutputFile

__all__ = ["collect"]

_SECONDS: Final = 10.0
# What find matches is more than what is asked for, and a tiny file is 1 KiB in an archive. A file with holes may be
# of any size.
_SLACK: Final = 4
_LEAST: Final = 16 * MIB


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
    begun = ended = found_all = False
    # A sandbox that is used again must stay in step.
    room = max(_SLACK * limit, _LEAST) if end_jobs else math.inf
    try:
        async with asyncio.timeout(_SECONDS):
            await sandbox.send(collect_message(patterns, boundary=boundary, end_jobs=end_jobs))
            while not ended and room > 0 and (piece := await sandbox.receive()) is not None:
                for part in scanner.feed(piece[1]) if piece[0] == "stdout" else ():
                    if isinstance(part, Mark):
                        # What comes before the first mark was written by processes that the program left.
                        begun, ended, found_all = True, begun, part.code == 0
                    elif begun:
                        room -= len(part)
                        archive.feed(part)
    except (TimeoutError, SandboxLostError):
        ended = False
    return archive.files, ended and found_all and archive.complete
