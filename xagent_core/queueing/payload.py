"""Writes requests, results and events as JSON, and reads them back. Nothing else ever crosses a queue."""

from __future__ import annotations

import functools
import hashlib
import json
from typing import Any, TypeVar

from xagent_core.abc.queue import Job, JobEvent, JobFailure, QueueStats, ToolCall, ToolResult, WorkerInfo
from xagent_core.errors import InvalidRequestError
from xagent_core.types import ExecutionRequest, ExecutionResult, OutputEvent

__all__ = ["decode", "digest", "document", "encode"]

T = TypeVar("T")

Payload = (
    ExecutionRequest | ExecutionResult | ToolCall | ToolResult
    | OutputEvent | JobFailure | WorkerInfo | Job | JobEvent | QueueStats
)  # fmt: skip


@functools.cache
def _adapter(kind: Any) -> Any:
    # Making one takes milliseconds, and the import a fifth of a second: only who uses a queue pays for it.
    from pydantic import TypeAdapter

    return TypeAdapter(kind)


def document(value: Payload) -> Any:
    """The value as plain lists, dictionaries, strings and numbers; bytes are base64."""
    kind: Any = type(value)
    return _adapter(kind).dump_python(value, mode="json")


def encode(value: Payload) -> str:
    """The value as JSON, in ASCII: text that is not UTF-8 survives as escapes."""
    return json.dumps(document(value), separators=(",", ":"))


def decode(kind: type[T], text: str | bytes) -> T:
    """What `encode` wrote.

    Raises:
        InvalidRequestError: It is not a value of that kind.
    """
    hashable: Any = kind
    try:
        value: T = _adapter(hashable).validate_python(json.loads(text))
    except ValueError as error:
        raise InvalidRequestError(
            "queue", f"a payload is no {getattr(kind, '__name__', kind)}: {str(error)[:200]}"
        ) from error
    return value


def digest(text: str) -> str:
    """Tells two requests apart that carry the same idempotency key."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]
