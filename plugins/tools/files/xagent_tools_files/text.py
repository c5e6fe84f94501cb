"""Finds out how a file's text is encoded, and reads some lines of a file of any size."""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from typing import BinaryIO, Final

from charset_normalizer import from_bytes

__all__ = ["MARK", "SAMPLE", "Excerpt", "encoding_of", "is_guess", "read_lines"]

SAMPLE: Final = 16 * 1024
"""Bytes that the encoding is guessed from."""
MARK: Final = "\ufeff"
"""The byte order mark, which is no part of the text."""

_PIECE: Final = 64 * 1024
# The longer ones come first: the mark of UTF-32 begins with that of UTF-16.
_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_CERTAIN: Final = frozenset(name for _, name in _MARKS)
_HIGH: Final = re.compile(rb"[\x80-\xff]+")
# Letters with accents among plain ones make up to 1 percent; Japanese among them, read in the same way, 8 percent.
_MOST_CHAOS: Final = 0.05
# What texts hold below the blank: tab, line feed, form feed, carriage return, escape (of terminals).
_CONTROLS: Final = bytes(set(range(32)) - {9, 10, 12, 13, 27})


def encoding_of(sample: bytes) -> str | None:
    """The encoding of a text.

    Args:
        sample: The beginning of the file; at most `SAMPLE` bytes of it are looked at.

    Returns:
        A codec's name, one that keeps a byte order mark as a character; None where it is no text.
    """
    cut = len(sample) >= SAMPLE
    sample = sample[:SAMPLE]
    for mark, name in _MARKS:
        if sample.startswith(mark):
            return name
    if b"\0" in sample or len(sample.translate(None, _CONTROLS)) < 0.95 * len(sample):
        return None
    try:
        codecs.getincrementaldecoder("utf-8")().decode(sample, final=not cut)
    except UnicodeDecodeError:
        # Behind the last line's end, a character may be cut in two.
        whole = sample[: sample.rfind(b"\n") + 1] if cut else sample
        return _guess(whole or sample)
    return "utf-8"


def is_guess(encoding: str) -> bool:
    """Whether an encoding that `encoding_of` has found is only likely: bytes fit many of those before Unicode."""
    return encoding not in _CERTAIN


def _guess(sample: bytes) -> str | None:
    """The likeliest of the encodings from before Unicode: that of Western Europe wherever it gives a sensible text."""
    western = from_bytes(sample, cp_isolation=["cp1252"]).best()
    if western and western.chaos < _MOST_CHAOS:
        return "cp1252"
    best = from_bytes(sample).best()
    if best is None:
        return None
    runs = _HIGH.findall(sample)
    # In other scripts, and in encodings of several bytes, such bytes stand together.
    if best.coherence or 2 * sum(len(run) == 1 for run in runs) < sum(map(len, runs)):
        return best.encoding
    try:
        sample.decode("cp1252")
    except UnicodeDecodeError:
        return "latin-1"  # it has a character for every byte
    return "cp1252"


@dataclass(frozen=True, kw_only=True, slots=True)
class Excerpt:
    """Some lines of a file.

    Attributes:
        content: Their text, as it is in the file; bytes that do not fit the encoding are shown as U+FFFD.
        lines: How many they are, the last of them perhaps cut.
        cut: Whether the last one is cut.
        line_count: Lines of the whole file; None where it was not read to its end.
        more: Whether the file has more lines behind these.
    """

    content: str
    lines: int
    cut: bool
    line_count: int | None
    more: bool


def read_lines(
    file: BinaryIO, encoding: str, *, offset: int, most_lines: int, most_characters: int, most_bytes: int
) -> Excerpt:
    """Reads lines without ever holding more than them.

    Args:
        file: At its beginning.
        encoding: A codec's name.
        offset: Lines to pass over.
        most_lines: Lines to return, at most.
        most_characters: Characters to return, at most; a line that does not fit is left out, unless it is the first.
        most_bytes: Bytes of the file to look at.

    Returns:
        The lines.
    """
    decoder = codecs.getincrementaldecoder(encoding)("replace")
    lines = _Lines(offset, most_lines, most_characters)
    room = most_bytes
    while room > 0 and (piece := file.read(min(_PIECE, room))):
        room -= len(piece)
        lines.feed(decoder.decode(piece))
    ended = room > 0 or not file.read(1)
    if ended:
        lines.feed(decoder.decode(b"", final=True))
    return lines.excerpt(ended=ended)


class _Lines:
    """Keeps the lines that are asked for, and counts all of them."""

    def __init__(self, offset: int, most_lines: int, most_characters: int) -> None:
        self._offset = offset
        self._end = offset + most_lines
        self._room = most_characters
        self._kept: list[str] = []
        self._line: list[str] = []  # the parts of a wanted line whose end has not come yet
        self._line_size = 0
        self._number = 0
        self._open = False  # whether the last line has begun
        self._cut = False

    def feed(self, text: str) -> None:
        """Takes the next piece."""
        if not text:
            return
        if self._number == 0 and not self._open:
            text = text.removeprefix(MARK)
        if not self._offset - text.count("\n") <= self._number < self._end:
            self._number += text.count("\n")
            self._open = not text.endswith("\n")
            return
        *whole, rest = text.split("\n")
        for part in whole:
            self._add(f"{part}\n")
            self._finish()
            self._number += 1
        self._add(rest)
        self._open = bool(rest) or (self._open and not whole)

    def excerpt(self, *, ended: bool) -> Excerpt:
        """What was kept."""
        if self._line:
            self._finish()
        count = self._number + self._open
        return Excerpt(
            content="".join(self._kept),
            lines=len(self._kept),
            cut=self._cut,
            line_count=count if ended else None,
            more=not ended or count > self._offset + len(self._kept),
        )

    def _add(self, part: str) -> None:
        if part and self._offset <= self._number < self._end:
            if self._line_size <= self._room:  # one more than there is room for tells that it does not fit
                self._line.append(part[: self._room + 1 - self._line_size])
            self._line_size += len(part)

    def _finish(self) -> None:
        """Keeps a wanted line, or as much of the first as there is room for."""
        if not self._line:
            return
        text = "".join(self._line)
        self._line, self._line_size = [], 0
        if len(text) > self._room:
            self._end = self._number  # nothing more is wanted
            if self._kept:
                return
            text, self._cut = text[: self._room], True
        self._kept.append(text)
        self._room -= len(text)
