"""Reads jobs and events back from the fields in which the store has them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from xagent_core.abc.queue import Job, JobEvent, JobFailure, ToolCall, ToolResult
from xagent_core.queueing.payload import decode
from xagent_core.types import ExecutionRequest, ExecutionResult, OutputEvent

__all__ = ["REQUEST", "RESULT", "lean", "read_event", "read_hash", "read_job"]

# What each of them must have, the other has not, so that JSON says by itself which it is.
REQUEST: Final[Any] = ExecutionRequest | ToolCall
RESULT: Final[Any] = ExecutionResult | ToolResult


def read_hash(answer: Any) -> Mapping[bytes, bytes]:
    """The fields of a hash that a script gives back: a list of names and values, or, by RESP3, a dictionary."""
    return answer if isinstance(answer, dict) else dict(zip(answer[::2], answer[1::2], strict=True))


def read_job(fields: Mapping[bytes, bytes]) -> Job:
    """A job by the fields of its hash."""

    def text(name: str) -> str:
        return fields.get(name.encode(), b"").decode()

    def number(name: str) -> float | None:
        return float(text(name)) if text(name) else None

    state: Any = text("state")
    return Job(
        id=text("id"),
        queue=text("queue"),
        state=state,
        request=decode(REQUEST, fields[b"request"]),
        attempt=int(text("attempt")),
        attempts=int(text("attempts")),
        idempotent=text("idempotent") == "1",
        key=text("key") or None,
        headers=json.loads(text("headers")),
        created=number("created") or 0.0,
        ready=number("ready") or 0.0,
        started=number("started"),
        ended=number("ended"),
        worker=text("worker") or None,
        result=decode(RESULT, text("result")) if text("result") else None,
        failure=decode(JobFailure, text("failure")) if text("failure") else None,
    )


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
