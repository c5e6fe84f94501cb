"""What the log has of an error that nobody expected: where it was, and nothing that a caller may have sent."""

from __future__ import annotations

import logging
import traceback

__all__ = ["StacksOnly"]


class StacksOnly(logging.Filter):
    """Leaves an error's stack and type in a log record, and takes its message out.

    Messages quote what they complain about, which is a caller's: a header, a password, a program.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Changes the record, and lets it pass."""
        if record.exc_info and record.exc_info[1]:
            record.exc_text = "\n".join(_stacks(record.exc_info[1]))
            record.exc_info = None
        return True


def _stacks(error: BaseException) -> list[str]:
    """Stack and type of an error and of all that led to it, the first one first; they may refer to each other."""
    found: list[str] = []
    left, seen = [error], set[int]()
    while left:
        error = left.pop()
        if id(error) in seen:
            continue
        seen.add(id(error))
        reason = f": {error.strerror}" if isinstance(error, OSError) and error.errno is not None else ""
        stack = "".join(traceback.format_tb(error.__traceback__))
        found.append(f"{stack}{type(error).__module__}.{type(error).__qualname__}{reason}")
        inner = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
        left += [cause for cause in (*inner, error.__cause__ or error.__context__) if cause is not None]
    return found[::-1]
