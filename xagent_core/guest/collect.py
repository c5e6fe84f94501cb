"""Brings files out of a sandbox."""

from __future__ import annotations

import asyncio
import io
import tarfile
from collections.abc import Sequence
from typing import Final

from xagent_core.abc.backend import Sandbox
from xagent_core.errors import SandboxLostError
from xagent_core.guest.scanner import Mark, Scanner
from xagent_core.guest.wire import collect_message, collect_pattern, new_boundary
from xagent_core.types import OutputFile

__all__ = ["collect"]

_SECONDS: Final = 10.0
# find's patterns match more than asked for, and tar adds headers and padding: more than this is not read.
_SLACK: Final = 4
_HEADERS: Final = 64 * 1024


async def collect(
    sandbox: Sandbox, patterns: Sequence[str], *, limit: int, end_jobs: bool = True
) -> tuple[tuple[OutputFile, ...], bool]:
    """The regular files of the workspace that match.

    Args:
        sandbox: Its program has ended.
        patterns: Relative to the workspace; `*`, `?`, `[...]` and `**`.
        limit: Bytes of all files together.
        end_jobs: Whether what still runs is killed first.

    Returns:
        The files, and whether they are all that matched.
    """
    boundary = new_boundary()
    scanner, archive, complete = Scanner(boundary), io.BytesIO(), False
    try:
        async with asyncio.timeout(_SECONDS):
            await sandbox.send(collect_message(patterns, boundary=boundary, end_jobs=end_jobs))
            while not complete and (piece := await sandbox.receive()) is not None:
                for part in scanner.feed(piece[1]) if piece[0] == "stdout" else ():
                    if isinstance(part, Mark):
                        complete = True
                    elif archive.tell() + len(part) > _SLACK * limit + _HEADERS:
                        return _unpack(archive, patterns, limit, complete=False)
                    else:
                        archive.write(part)
    except (TimeoutError, SandboxLostError):
        complete = False
    return _unpack(archive, patterns, limit, complete=complete)


def _unpack(
    archive: io.BytesIO, patterns: Sequence[str], limit: int, *, complete: bool
) -> tuple[tuple[OutputFile, ...], bool]:
    """The regular files of an archive that whoever ran inside may have made up."""
    wanted = collect_pattern(patterns)
    files: dict[str, OutputFile] = {}
    if not archive.tell():
        return (), complete
    archive.seek(0)
    try:
        # `find -exec {} +` may run tar more than once: archives one behind the other.
        with tarfile.open(fileobj=archive, mode="r:", ignore_zeros=True) as tar:
            for member in tar:
                path = member.name.removeprefix("./")
                content = tar.extractfile(member) if member.isreg() and wanted.fullmatch(path) else None
                if content is None:
                    continue
                limit -= member.size
                if limit < 0:
                    return tuple(files.values()), False
                files[path] = OutputFile(path, content.read())
    except tarfile.TarError:
        complete = False
    return tuple(files.values()), complete
