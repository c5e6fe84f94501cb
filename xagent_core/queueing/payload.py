"""Writes requests, results and events as JSON, and reads them back. Nothing else ever crosses a queue."""

from __future__ import annotations

import functools
import hashlib
import json
from typing import Any, TypeVar, get_args

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
    except (ValueError, RecursionError) as error:
        wanted = " or ".join(one.__name__ for one in get_args(kind) or (kind,))
        raise InvalidRequestError("queue", f"a payload is no {wanted}: {_flaws(error)[:200]}") from error
    return value


def _flaws(error: Exception) -> str:
    """What is wrong, in one line and without the values, which are the caller's own."""
    from pydantic import ValidationError

    if not isinstance(error, ValidationError):
        return str(error)
    flaws = error.errors(include_url=False, include_context=False, include_input=False)
    return "; ".join(f"{'.'.join(map(str, flaw['loc']))}: {flaw['msg']}" for flaw in flaws)


def digest(text: str) -> str:
    """Tells two requests apart that carry the same idempotency key."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]
