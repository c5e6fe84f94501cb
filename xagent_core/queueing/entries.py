"""Reads jobs and events back from the fields in which the store has them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final, TypeVar

from xagent_core.abc.queue import Job, JobEvent, JobFailure, ToolCall, ToolResult
from xagent_core.errors import InvalidRequestError
from xagent_core.queueing.payload import decode
from xagent_core.types import ExecutionRequest, ExecutionResult, OutputEvent

__all__ = ["REQUEST", "RESULT", "lean", "read_event", "read_hash", "read_job"]

T = TypeVar("T")

# What each of them must have, the other has not, so that JSON says by itself which it is.
REQUEST: Final[Any] = ExecutionRequest | ToolCall
RESULT: Final[Any] = ExecutionResult | ToolResult


def read_hash(answer: Any) -> Mapping[bytes, bytes]:
    """The fields of a hash that a script gives back: a list of names and values, or, by RESP3, a dictionary."""
    return answer if isinstance(answer, dict) else dict(zip(answer[::2], answer[1::2], strict=True))


def read_job(fields: Mapping[bytes, bytes]) -> Job:
    """A job by the fields of its hash.

    Another version of xagent may have written it, and whoever sees to all jobs must not stop at one: what cannot be
    read is left out, and said in `unreadable`.
    """
    unreadable: list[str] = []

    def read(name: str, kind: Callable[[str], T], otherwise: T) -> T:
        try:
            text = fields.get(name.encode(), b"").decode()
            return kind(text) if text or name == "request" else otherwise
        except (InvalidRequestError, ValueError, RecursionError) as error:
            cause = error.cause if isinstance(error, InvalidRequestError) else error
            unreadable.append(f"its {name} cannot be read: {cause}")
            return otherwise

    state: Any = read("state", str, "")
    return Job(
        id=read("id", str, ""),
        queue=read("queue", str, ""),
        state=state,
        request=read("request", lambda text: decode(REQUEST, text), None),
        attempt=read("attempt", int, 0),
        attempts=read("attempts", int, 1),
        idempotent=read("idempotent", str, "") == "1",
        key=read("key", str, "") or None,
        headers=read("headers", _headers, {}),
        created=read("created", float, 0.0),
        ready=read("ready", float, 0.0),
        started=read("started", float, None),
        ended=read("ended", float, None),
        worker=read("worker", str, "") or None,
        result=read("result", lambda text: decode(RESULT, text), None),
        failure=read("failure", lambda text: decode(JobFailure, text), None),
        unreadable="; ".join(unreadable),
    )


def _headers(text: str) -> Mapping[str, str]:
    headers: Any = json.loads(text)
    if not isinstance(headers, dict) or not all(isinstance(value, str) for value in headers.values()):
        raise ValueError("they are no texts by name")
    return headers


def read_event(number: bytes, fields: Mapping[bytes, bytes]) -> JobEvent:
    """An event by its place in a job's stream, and its fields there."""
    kind: Any = fields[b"k"].decode()
    detail = {name.decode(): value.decode() for name, value in fields.items() if len(name) > 1}
    return JobEvent(
        sequence=int(number.partition(b"-")[0]),
        time=float(fields[b"t"]),
        attempt=int(fields[b"a"]),
        kind=kind,
        output=_full(decode(OutputEvent, fields[b"o"])) if b"o" in fields else None,
        detail=detail,
    )


def lean(output: OutputEvent) -> OutputEvent:
    """Output without its bytes where they are those of its text."""
    return replace(output, raw=b"") if output.raw == output.data.encode() else output


def _full(output: OutputEvent) -> OutputEvent:
    return output if output.raw else replace(output, raw=output.data.encode())
