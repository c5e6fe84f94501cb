"""Log records as lines of text: the message, and what xagent's own records carry beside it."""

from __future__ import annotations

import json
import logging
import re
from typing import Final

__all__ = ["FieldsFormatter"]

# What every record has, and what formatting adds: the rest came with `extra`.
_USUAL: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}
_PLAIN: Final = re.compile(r"[\w.:/-]+")


class FieldsFormatter(logging.Formatter):
    """Writes the fields of `extra` behind the message, as `name=value`; those of other libraries' records stay out.

    A value that is no single word is written as JSON, so that nothing which a job brings can begin a line of its own.
    """

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """The line without a traceback."""
        text = super().formatMessage(record)
        if record.name.partition(".")[0] != "xagent_core":
            return text
        fields = {name: value for name, value in vars(record).items() if name not in _USUAL}
        return " ".join([text, *(f"{name}={_written(value)}" for name, value in fields.items())])


def _written(value: object) -> str:
    return text if _PLAIN.fullmatch(text := str(value)) else json.dumps(value, default=str)
