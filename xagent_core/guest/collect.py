"""Brings files out of a sandbox."""

from __future__ import annotations

import asyncio
import math
import posixpath
from collections.abc import Callable, Sequence
from typing import Final

from xagent_core.abc.backend import Sandbox
from xagent_core.errors import SandboxLostError
from xagent_core.guest.archive import ArchiveReader
from xagent_core.guest.patterns import matches
from xagent_core.guest.scanner import Mark, Scanner
from xagent_core.guest.wire import collect_message, list_message, new_boundary
from xagent_core.types import MIB, OutputFile, StreamName

__all__ = ["collect", "listing"]

_SECONDS: Final = 10.0
_LONGEST_LISTING: Final = 4 * MIB
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
        The files by path, and whether they are all that matched.
    """
    boundary = new_boundary()
    archive = ArchiveReader(lambda path: matches(path, patterns), limit)
    message = collect_message(patterns, boundary=boundary, end_jobs=end_jobs)
    # A sandbox that is used again must stay in step.
    room = max(_SLACK * limit, _LEAST) if end_jobs else math.inf
    found_all = await _between_marks(sandbox, message, boundary, archive.feed, room=room)
    return tuple(sorted(archive.files, key=lambda file: file.path)), found_all and archive.complete


async def listing(sandbox: Sandbox, folder: str) -> list[str] | None:
    """The paths of the regular files below a folder of the workspace.

    Args:
        sandbox: No call runs in it.
        folder: Relative to the workspace.

    Returns:
        The paths, sorted; None where there is no such folder, or they are too many.
    """
    boundary, paths = new_boundary(), bytearray()
    message = list_message(folder, boundary=boundary)
    if not await _between_marks(sandbox, message, boundary, paths.extend, room=_LONGEST_LISTING):
        return None
    names = bytes(paths).decode("utf-8", "surrogateescape").split("\0")[:-1]
    return sorted(posixpath.normpath(name) for name in names)


async def _between_marks(
    sandbox: Sandbox, message: bytes, boundary: str, sink: Callable[[bytes], None], *, room: float
) -> bool:
    """Gives what comes on stdout between two marks to `sink`; whether it came whole, and the guest had no error."""
    scanners: dict[StreamName, Scanner] = {"stdout": Scanner(boundary), "stderr": Scanner(boundary)}
    # What comes before the first mark was written by processes that the program left.
    marks: dict[StreamName, list[Mark]] = {"stdout": [], "stderr": []}
    try:
        async with asyncio.timeout(_SECONDS):
            await sandbox.send(message)
            while min(map(len, marks.values())) < 2 and room > 0:
                if (piece := await sandbox.receive()) is None:
                    return False
                stream, data = piece
                for part in scanners[stream].feed(data):
                    if isinstance(part, Mark):
                        marks[stream].append(part)
                    elif stream == "stdout" and len(marks["stdout"]) == 1:
                        room -= len(part)
                        sink(part)
    except (TimeoutError, SandboxLostError):
        return False
    return room > 0 and marks["stdout"][1].code == 0
