"""One message to the guest, and the output that it causes, with its limits of time and size held."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from xagent_core.abc.backend import Sandbox
from xagent_core.errors import BackendError, InvalidRequestError, SandboxLostError
from xagent_core.guest.scanner import Mark, Scanner
from xagent_core.types import Phase, Status, StreamName, Usage

__all__ = ["Exchange", "Outcome", "RawOutput"]

logger = logging.getLogger(__name__)

# After a stop, what was written before comes within this time (30 ms measured on Docker).
_GRACE_SECONDS: Final = 2.0
# How a sandbox ended is told within moments, and on a machine that does other things within seconds.
_END_SECONDS: Final = 15.0
_LAST_PHASES: Final = ("run", "build", "full")


@dataclass(frozen=True, slots=True)
class RawOutput:
    """Bytes as they came from the program."""

    stream: StreamName
    phase: Phase
    data: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """How a program ended.

    Attributes:
        status: As in `ExecutionResult`.
        exit_code: None when xagent stopped it.
        phase: `build` when it did not come past its build step.
        truncated: The streams that wrote more than was kept.
        usage: What the sandbox used.
        build_seconds: Until the build step ended.
        run_seconds: From there to the end.
        mark: The mark that ended it; None when its streams ended before.
    """

    status: Status
    exit_code: int | None
    phase: Phase
    truncated: frozenset[StreamName] = frozenset()
    usage: Usage = field(default_factory=Usage)
    build_seconds: float = 0.0
    run_seconds: float = 0.0
    mark: Mark | None = None


class Exchange:
    """Sends one message and yields the output up to the mark that ends it.

    Args:
        sandbox: Whose guest gets the message.
        boundary: Begins the marks of this message's answer.
        builds: Whether a mark of phase `build` comes first.
        timeout: Seconds for all of it.
        output_limit: Bytes kept of each stream.
        announced: Whether a mark of phase `start` says that the program is about to run.
        stops: Ways to end it at a limit, mildest first; the next is tried when one has had no effect for two seconds.
    """

    def __init__(
        self,
        sandbox: Sandbox,
        boundary: str,
        *,
        builds: bool,
        timeout: float,
        output_limit: int,
        announced: bool = False,
        stops: Sequence[Callable[[], Awaitable[None]]],
    ) -> None:
        self._sandbox = sandbox
        self._timeout = timeout
        self._output_limit = output_limit
        self._stops = stops
        self._scanners: dict[StreamName, Scanner] = {"stdout": Scanner(boundary), "stderr": Scanner(boundary)}
        self._sizes: dict[StreamName, int] = {"stdout": 0, "stderr": 0}
        self._marks: dict[str, dict[StreamName, Mark]] = {}
        self._truncated: set[StreamName] = set()
        self._phase: Phase = "build" if builds else "run"
        self._started = self._build_ended = 0.0
        self._announced = announced
        self._begun = False
        self._ended = False

    async def run(self, message: bytes) -> AsyncGenerator[RawOutput | Outcome, None]:
        """Sends the message and yields output as it comes, and at last the outcome.

        Raises:
            InvalidRequestError: The files do not fit the scratch space.
            SandboxLostError: The engine died, or the sandbox before the program began.
        """
        self._started = self._build_ended = time.monotonic()
        deadline = asyncio.get_running_loop().time() + self._timeout
        watchdog = asyncio.create_task(self._kill_at(deadline + 2 * _GRACE_SECONDS * len(self._stops)))
        limit: Status | None = None
        try:
            try:
                async with asyncio.timeout_at(deadline):
                    await self._send(message)
                while not self._ended and not self._truncated:
                    outputs = await self._next_until(deadline)
                    for output in outputs:
                        yield output
            except TimeoutError:
                limit = "timeout"
            else:
                limit = "output_limit" if self._truncated else None
            if limit is not None and not (limit == "output_limit" and self._last_mark()):
                for output in await self._stop():
                    yield output
            yield await self._outcome(limit)
        finally:
            watchdog.cancel()

    async def _kill_at(self, moment: float) -> None:
        """Stops the program although nobody fetches its output, while which `run` stands still."""
        await asyncio.sleep(moment - asyncio.get_running_loop().time())
        for stop in self._stops[-1:]:
            try:
                await stop()
            except BackendError as error:
                logger.warning("a program could not be stopped: %s", error)

    async def _next_until(self, deadline: float) -> list[RawOutput]:
        # A program that never lets its reader wait would never meet the timeout.
        if asyncio.get_running_loop().time() >= deadline:
            raise TimeoutError
        async with asyncio.timeout_at(deadline):
            return await self._next()

    async def _send(self, message: bytes) -> None:
        try:
            await self._sandbox.send(message)
        except SandboxLostError as error:
            # The guest obeys whole lines, and it is the last one that runs the program.
            raise SandboxLostError(error.component, error.cause, error.fix, code_ran="no") from error

    async def _next(self) -> list[RawOutput]:
        """The next outputs; notes when there are no more."""
        piece = await self._sandbox.receive()
        if piece is None:
            self._ended = True
            return [out for stream, scanner in self._scanners.items() for out in self._keep(stream, scanner.rest())]
        outputs = self._accept(*piece)
        self._ended = self._last_mark() is not None
        return outputs

    def _accept(self, stream: StreamName, data: bytes) -> list[RawOutput]:
        """Takes a piece of a stream, and notes the marks in it."""
        outputs = []
        for part in self._scanners[stream].feed(data):
            if isinstance(part, bytes):
                outputs += self._keep(stream, part)
            elif part.phase == "start":
                self._begun = True
            # A program that has begun can only pretend that its files did not fit.
            elif part.phase in _LAST_PHASES and not (part.phase == "full" and self._begun):
                self._marks.setdefault(part.phase, {})[stream] = part
                if part.phase == "build" and part.code == 0 and len(self._marks["build"]) == 2:
                    self._phase = "run"
                    self._build_ended = time.monotonic()
        return outputs

    def _keep(self, stream: StreamName, data: bytes) -> list[RawOutput]:
        """Counts a program's output, and cuts it at the limit."""
        kept = data[: self._output_limit - self._sizes[stream]]
        self._sizes[stream] += len(kept)
        if len(kept) < len(data):
            self._truncated.add(stream)
        return [RawOutput(stream, self._phase, kept)] if kept else []

    def _last_mark(self) -> Mark | None:
        """The mark that ends it, once it has come on both streams."""
        for phase in _LAST_PHASES:
            marks = self._marks.get(phase, {})
            if len(marks) == 2 and not (phase == "build" and marks["stdout"].code == 0):
                return marks["stdout"]
        return None

    async def _stop(self) -> list[RawOutput]:
        """Ends it, and gives what was written before it ended."""
        outputs: list[RawOutput] = []
        for stop in self._stops:
            try:
                async with asyncio.timeout(_GRACE_SECONDS):
                    await stop()
                    while not self._ended:
                        outputs += await self._next()
                break
            except TimeoutError:
                continue
            except SandboxLostError:
                # It is gone, as it should be; what it printed last is lost with the connection.
                break
        return outputs

    async def _outcome(self, limit: Status | None) -> Outcome:
        now, mark = time.monotonic(), self._last_mark()
        if mark is not None and mark.phase == "full":
            raise InvalidRequestError(
                "request", "its code, input and files do not fit the scratch space", "Raise the scratch limit."
            )
        usage = await self._usage(mark)
        # Where it was killed at once, an end that it has told came before.
        if limit == "timeout" and len(self._stops) == 1 and mark is not None:
            limit = None
        if limit is not None:
            status, exit_code = limit, None
        elif mark is None:
            status, exit_code = await self._end_without_mark(usage), 137
        else:
            status, exit_code = _status(mark, usage), mark.code
        running = self._phase == "run"
        return Outcome(
            status=status,
            exit_code=exit_code,
            phase=self._phase,
            truncated=frozenset(self._truncated),
            usage=usage,
            build_seconds=(self._build_ended if running else now) - self._started,
            run_seconds=now - self._build_ended if running else 0.0,
            mark=mark,
        )

    async def _usage(self, mark: Mark | None) -> Usage:
        try:
            seen = await self._sandbox.usage()
        except SandboxLostError:
            seen = None
        if seen is None and mark is not None:
            return Usage(peak_memory=mark.peak_memory, cpu_time=mark.cpu_time, oom_kills=mark.oom_kills)
        return seen or Usage()

    async def _end_without_mark(self, usage: Usage) -> Status:
        """The sandbox ended first: the program, or the kernel for want of memory, has killed the guest."""
        if self._announced and not self._begun:
            raise SandboxLostError(
                f"sandbox {self._sandbox.id}", "it ended before the program began", "Try again.", code_ran="no"
            )
        try:
            async with asyncio.timeout(_END_SECONDS):
                end = await self._sandbox.wait()
        except TimeoutError as error:
            raise SandboxLostError(f"sandbox {self._sandbox.id}", "its engine does not say how it ended") from error
        return "out_of_memory" if end.oom_killed or usage.oom_kills else "killed"


def _status(mark: Mark, usage: Usage) -> Status:
    # A process killed for memory under a parent that exits 0 is no failure of the program.
    if mark.code == 0:
        return "success"
    if usage.oom_kills:
        return "out_of_memory"
    return "killed" if mark.code == 137 else "error"
