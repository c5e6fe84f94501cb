"""Runs one planned program in one sandbox, from its message to its result."""

from __future__ import annotations

import codecs
import contextlib
from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Final

from xagent_core.abc.backend import Sandbox
from xagent_core.errors import SandboxStartError
from xagent_core.guest.collect import collect
from xagent_core.guest.exchange import Exchange, Outcome, RawOutput
from xagent_core.guest.health import missing_program
from xagent_core.guest.wire import job_message, new_boundary
from xagent_core.policy import Plan
from xagent_core.types import (
    Event,
    ExecutionRequest,
    ExecutionResult,
    FinishedEvent,
    OutputEvent,
    OutputFile,
    StreamName,
    Timings,
)

__all__ = ["Transcript", "make_result", "run_program"]

# What shells exit with where there is no such program; a program may do so, too (POSIX, "Exit Status for Commands").
_NOT_FOUND: Final = 127
_ANSWER_SECONDS: Final = 5.0


class Transcript:
    """The output as text: bytes that are not UTF-8 become U+FFFD, and no character is cut at a piece's end."""

    def __init__(self) -> None:
        decoder = codecs.getincrementaldecoder("utf-8")
        self._decoders = {"stdout": decoder("replace"), "stderr": decoder("replace")}
        self._parts: dict[str, list[str]] = {"stdout": [], "stderr": []}

    def add(self, piece: RawOutput) -> OutputEvent:
        """Takes a piece of output."""
        data = self._decoders[piece.stream].decode(piece.data)
        self._parts[piece.stream].append(data)
        return OutputEvent(stream=piece.stream, data=data, raw=piece.data, phase=piece.phase)

    def of(self, stream: StreamName) -> str:
        """All that the stream held."""
        return "".join(self._parts[stream]) + self._decoders[stream].decode(b"", final=True)


def make_result(
    outcome: Outcome, transcript: Transcript, planned: Plan, *, backend: str, acquired: float
) -> ExecutionResult:
    """What the caller gets.

    Args:
        outcome: How the program ended.
        transcript: What it wrote.
        planned: What it was.
        backend: The backend's name.
        acquired: Seconds until its sandbox was at hand.

    Returns:
        The result, without collected files.
    """
    return ExecutionResult(
        status=outcome.status,
        output=transcript.of("stdout"),
        error=transcript.of("stderr"),
        exit_code=outcome.exit_code,
        execution_time=outcome.build_seconds + outcome.run_seconds,
        language=planned.spec.language,
        backend=backend,
        phase=outcome.phase,
        output_truncated="stdout" in outcome.truncated,
        error_truncated="stderr" in outcome.truncated,
        usage=outcome.usage,
        timings=Timings(acquire=acquired, build=outcome.build_seconds, run=outcome.run_seconds),
        unenforced=planned.spec.unenforced,
    )


async def run_program(
    sandbox: Sandbox, planned: Plan, request: ExecutionRequest, *, backend: str, acquired: float
) -> AsyncGenerator[Event, None]:
    """Runs a program and yields its output as it comes, then its result.

    Args:
        sandbox: It has run nothing, and is of the planned spec. It is left for the caller to destroy.
        planned: What to run, and its limits.
        request: Its input and files.
        backend: The backend's name, for the result.
        acquired: Seconds until the sandbox was at hand, for the result.

    Raises:
        InvalidRequestError: The files do not fit the scratch space.
        SandboxLostError: The engine died, or the sandbox before the program began.
        SandboxStartError: The sandbox has not the programs that the language needs.
    """
    transcript, boundary = Transcript(), new_boundary()
    exchange = Exchange(
        sandbox,
        boundary,
        builds=bool(planned.program.build),
        timeout=planned.limits.timeout,
        output_limit=planned.limits.output,
        announced=True,
        stops=(sandbox.kill,),
    )
    message = job_message(planned.program, request, boundary=boundary)
    async with contextlib.aclosing(exchange.run(message)) as pieces:
        async for piece in pieces:
            if isinstance(piece, RawOutput):
                yield transcript.add(piece)
            else:
                outcome = piece
    await _check_programs(sandbox, planned, outcome, backend=backend)
    files: tuple[OutputFile, ...] = ()
    complete = not request.collect
    if request.collect and outcome.mark is not None and outcome.phase == "run":
        files, complete = await collect(sandbox, request.collect, limit=planned.limits.collect)
    result = make_result(outcome, transcript, planned, backend=backend, acquired=acquired)
    yield FinishedEvent(result=replace(result, files=files, files_truncated=not complete))


async def _check_programs(sandbox: Sandbox, planned: Plan, outcome: Outcome, *, backend: str) -> None:
    """Tells an image without the language's interpreter from a program that fails."""
    if outcome.exit_code != _NOT_FOUND or outcome.mark is None:
        return
    name = await missing_program(sandbox, planned.spec.executables, within=_ANSWER_SECONDS)
    if name is not None:
        raise SandboxStartError(
            backend,
            f"there is no program {name!r} in the sandbox, and {planned.spec.language} needs it",
            "Use an image that has it on its PATH.",
        )
