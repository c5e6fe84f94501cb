"""Finds the guest's marks in a stream of output, without holding output back."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

__all__ = ["Mark", "Scanner"]

# A kernel's note may hold the text of a value, cut at 32 KiB before it is encoded.
_LONGEST_MARK: Final = 64 * 1024
_MARK: Final = re.compile(
    rb"\s*([a-z]+)\s+(\d{1,3})\s+(-|\d{1,20})\s+(-|\d{1,20})\s+(-|\d{1,20})(?:\s+([A-Za-z0-9+/=]+))?\s*"
)


@dataclass(frozen=True, slots=True)
class Mark:
    """The end of a phase, as the guest reports it. Programs share the guest's user: trust it no more than them.

    Attributes:
        phase: `build`, `run`, `files`, `ready` or `full`.
        code: The phase's exit code.
        oom_kills: Processes of the sandbox that the kernel killed for memory so far.
        peak_memory: Bytes.
        cpu_time: Seconds.
        note: What a session's kernel adds, base64 of JSON; None in a mark of the guest itself.
    """

    phase: str
    code: int
    oom_kills: int | None = None
    peak_memory: int | None = None
    cpu_time: float | None = None
    note: str | None = None


class Scanner:
    """Splits one stream into output and marks.

    Args:
        boundary: What every mark of this job begins with.
    """

    def __init__(self, boundary: str) -> None:
        self._boundary = boundary.encode()
        self._held = b""

    def feed(self, data: bytes) -> Iterator[bytes | Mark]:
        """Takes the next piece of the stream; gives pieces of output and marks, in order.

        Only bytes that may be the beginning of a mark are held back until the next call.
        """
        data = self._held + data
        self._held = b""
        while data:
            start = data.find(self._boundary)
            if start < 0:
                keep = self._possible_start(data)
                if keep:
                    self._held = data[-keep:]
                    data = data[:-keep]
                if data:
                    yield data
                return
            if start:
                yield data[:start]
            end = data.find(b"\n", start) + 1
            if not end and len(data) - start < _LONGEST_MARK:
                self._held = data[start:]
                return
            end = end or len(data)
            # Nonsense behind a boundary is output like any other: a program that shares our memory has printed it.
            yield _parse(data[start + len(self._boundary) : end]) or data[start:end]
            data = data[end:]

    def rest(self) -> bytes:
        """What was held back and will not be completed, for the stream has ended."""
        held, self._held = self._held, b""
        return held

    def _possible_start(self, data: bytes) -> int:
        """How many of the last bytes of `data` are a beginning of the boundary."""
        tail = data[-(len(self._boundary) - 1) :]
        at = tail.find(self._boundary[:1])
        while at >= 0:
            if self._boundary.startswith(tail[at:]):
                return len(tail) - at
            at = tail.find(self._boundary[:1], at + 1)
        return 0


def _parse(line: bytes) -> Mark | None:
    """The mark behind a boundary; None where it is none."""
    match = _MARK.fullmatch(line)
    if match is None:
        return None
    oom_kills, peak, cpu = (None if count == b"-" else int(count) for count in match.group(3, 4, 5))
    note = match[6].decode() if match[6] else None
    return Mark(match[1].decode(), int(match[2]), oom_kills, peak, None if cpu is None else cpu / 1e9, note)
