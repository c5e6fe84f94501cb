"""Reads the tar archives that come out of a sandbox, as they come. Whoever ran inside may have made them up.

The standard library's reader is not used: it needs the whole archive, takes seconds for one of many tiny members, and
in most releases in use never ends on a member of negative size (CVE-2025-8194).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from xagent_core.types import OutputFile, shown_path

__all__ = ["ArchiveReader"]

_BLOCK: Final = 512
_OCTAL: Final = re.compile(rb" *([0-7]*)[ \0]*")
# More than Linux's PATH_MAX, for a pax header also holds times.
_LONGEST_NAME: Final = 16 * 1024


class ArchiveReader:
    """Picks regular files out of archives that follow each other.

    Args:
        wanted: Whether a path is asked for.
        room: Bytes of all files together.
    """

    def __init__(self, wanted: Callable[[str], bool], room: int) -> None:
        self._wanted = wanted
        self._room = room
        self._files: dict[str, OutputFile] = {}
        self._data = bytearray()
        self._skip = 0
        self._size = 0
        self._body: Callable[[bytes], None] | None = None
        self._long_name = ""
        self._nonsense = False
        self._missed = False

    @property
    def files(self) -> tuple[OutputFile, ...]:
        """What was found so far."""
        return tuple(self._files.values())

    @property
    def complete(self) -> bool:
        """Whether all that was wanted is there, and no member is cut short."""
        return not (self._missed or self._nonsense or self._body or self._skip or self._data)

    def feed(self, data: bytes) -> None:
        """Takes the next piece; behind one that makes no sense, nothing is read any more."""
        if self._nonsense:
            return
        self._data += data
        try:
            while self._step():
                pass
        except ValueError:
            self._nonsense = True
            self._data.clear()

    def _step(self) -> bool:
        """Takes the next part of a member; False when there is not enough of it yet."""
        if self._skip:
            passed = min(self._skip, len(self._data))
            del self._data[:passed]
            self._skip -= passed
            return passed > 0
        wanted = self._size if self._body else _BLOCK
        if len(self._data) < wanted:
            return False
        part = bytes(self._data[:wanted])
        del self._data[:wanted]
        if self._body:
            self._skip = -self._size % _BLOCK
            self._body(part)
            self._body = None
        elif part.count(0) != _BLOCK:  # Empty blocks end an archive.
            self._header(part)
        return True

    def _header(self, block: bytes) -> None:
        if _number(block[148:156]) != sum(block[:148]) + sum(block[156:]) + 8 * 32:
            raise ValueError("the checksum is wrong")
        kind, self._size = block[156:157], _number(block[124:136])
        if kind in b"Lx":
            if self._size > _LONGEST_NAME:
                raise ValueError("the name is too long")
            self._body = self._gnu_name if kind == b"L" else self._pax_name
            return
        prefix = _text(block[345:500]) if block[257:263] == b"ustar\0" else ""
        name = self._long_name or (f"{prefix}/" if prefix else "") + _text(block[:100])
        self._long_name = ""
        path = name.removeprefix("./")
        if kind not in b"0\0" or not self._wanted(path):
            # A hard link's content is that of a member before it, which need not have been wanted.
            self._missed |= kind == b"1" and self._wanted(path) and not self._link(path, block)
            self._skip = self._size + -self._size % _BLOCK
        elif self._size > self._room:
            self._missed = True
            self._skip = self._size + -self._size % _BLOCK
        else:
            self._room -= self._size
            self._body = lambda content: self._files.__setitem__(path, OutputFile(shown_path(path), content))

    def _link(self, path: str, block: bytes) -> bool:
        """Takes a hard link's content from its target; False where that is not there."""
        target = self._files.get(_text(block[157:257]).removeprefix("./"))
        if target is None or len(target.content) > self._room:
            return False
        self._room -= len(target.content)
        self._files[path] = OutputFile(shown_path(path), target.content)
        return True

    def _gnu_name(self, body: bytes) -> None:
        self._long_name = _text(body)

    def _pax_name(self, body: bytes) -> None:
        while body:
            length = int(body.partition(b" ")[0])
            if not 0 < length <= len(body):
                raise ValueError("a record's length is wrong")
            key, _, value = body[:length].partition(b" ")[2].partition(b"=")
            if key == b"path":
                self._long_name = _text(value.removesuffix(b"\n"))
            body = body[length:]


def _number(field: bytes) -> int:
    match = _OCTAL.fullmatch(field)
    if match is None:
        raise ValueError("a number is not octal")
    return int(match[1] or b"0", 8)


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8", "surrogateescape")
