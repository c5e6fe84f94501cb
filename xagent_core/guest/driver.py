"""Runs one program in a sandbox that stands by, and holds its limits of time and output."""

from __future__ import annotations

import asyncio
import io
import tarfile
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field, replace
from typing import Final

from xagent_core.abc.backend import Sandbox
from xagent_core.abc.language import Program
from xagent_core.errors import InvalidRequestError, SandboxLostError
from xagent_core.guest.scanner import Mark, Scanner
from xagent_core.guest.wire import collect_message, collect_pattern, job_message, new_boundary, ping_message
from xagent_core.types import ExecutionRequest, OutputFile, Phase, Status, StreamName, Usage

__all__ = ["Job", "Outcome", "RawOutput", "is_alive"]

# After a kill, what the engine still holds of the output comes within this time (30 ms measured on Docker).
_DRAIN_SECONDS: Final = 2.0
_COLLECT_SECONDS: Final = 10.0
_TAR_OVERHEAD: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class RawOutput:
    """Bytes as they came from the program."""

    stream: StreamName
    phase: Phase
    data: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """How a job ended."""

    status: Status
    exit_code: int | None
    phase: Phase
    truncated: frozenset[StreamName] = frozenset()
    usage: Usage = field(default_factory=Usage)
    files: tuple[OutputFile, ...] = ()
    files_truncated: bool = False
    build_seconds: float = 0.0
    run_seconds: float = 0.0


class Job:
    """One program in one sandbox.

    Args:
        sandbox: It stands by, and has run nothing.
        program: What to run.
        request: Its input, files and patterns.
        timeout: Seconds for build and run together.
        output_limit: Bytes of each stream.
        collect_limit: Bytes of all collected files.
        component: The backend's name, for errors.
    """

    def __init__(
        self,
        sandbox: Sandbox,
        program: Program,
        request: ExecutionRequest,
        *,
        timeout: float,
        output_limit: int,
        collect_limit: int,
        component: str,
    ) -> None:
        self._sandbox = sandbox
        self._program = program
        self._request = request
        self._timeout = timeout
        self._output_limit = output_limit
        self._collect_limit = collect_limit
        self._component = component
        self._boundary = new_boundary()
        self._scanners: dict[StreamName, Scanner] = {
            "stdout": Scanner(self._boundary),
            "stderr": Scanner(self._boundary),
        }
        self._sizes: dict[StreamName, int] = {"stdout": 0, "stderr": 0}
        self._marks: dict[str, dict[StreamName, Mark]] = {}
        self._truncated: set[StreamName] = set()
        self._phase: Phase = "build" if program.build else "run"
        self._started = 0.0
        self._build_ended = 0.0

    async def run(self) -> AsyncGenerator[RawOutput | Outcome, None]:
        """Hands the program over and yields its output as it comes, then its outcome.

        The sandbox is left as it is, for the caller to destroy.

        Raises:
            InvalidRequestError: The files do not fit the scratch space.
            SandboxLostError: The engine died, or the sandbox before the program started.
        """
        message = job_message(
            self._program,
            boundary=self._boundary,
            stdin=self._request.stdin,
            files=self._request.files,
            standing_by=bool(self._program.standby),
        )
        self._started = time.monotonic()
        deadline = asyncio.get_running_loop().time() + self._timeout
        try:
            async with asyncio.timeout_at(deadline):
                await self._sandbox.send(message)
            while True:
                async with asyncio.timeout_at(deadline):
                    piece = await self._sandbox.receive()
                if piece is None:
                    for held in self._held_back():
                        yield held
                    yield await self._ended_without_mark()
                    return
                for output in self._accept(*piece):
                    yield output
                if self._truncated:
                    await self._sandbox.kill()
                    yield self._outcome("output_limit", None)
                    return
                last = self._last_mark()
                if last is not None:
                    break
        except TimeoutError:
            await self._sandbox.kill()
            for output in await self._drain():
                yield output
            yield self._outcome("timeout", None)
            return
        yield await self._finished(last)

    def _accept(self, stream: StreamName, data: bytes) -> list[RawOutput]:
        """Takes a piece of a stream: counts it, cuts it at the limit, and notes the marks in it."""
        outputs = []
        for part in self._scanners[stream].feed(data):
            if isinstance(part, Mark):
                self._marks.setdefault(part.phase, {})[stream] = part
                if part.phase == "build" and len(self._marks["build"]) == 2 and part.code == 0:
                    self._phase = "run"
                    self._build_ended = time.monotonic()
                continue
            room = self._output_limit - self._sizes[stream]
            if len(part) > room:
                self._truncated.add(stream)
                part = part[:room]  # noqa: PLW2901 - cut in place
            self._sizes[stream] += len(part)
            if part:
                outputs.append(RawOutput(stream, self._phase, part))
        return outputs

    def _held_back(self) -> list[RawOutput]:
        return [
            RawOutput(stream, self._phase, rest)
            for stream, scanner in self._scanners.items()
            if (rest := scanner.rest())
        ]

    def _last_mark(self) -> Mark | None:
        """The mark that ends the job, when it has come on both streams."""
        for phase in ("run", "build", "full"):
            marks = self._marks.get(phase, {})
            if len(marks) == 2 and not (phase == "build" and marks["stdout"].code == 0):
                return marks["stdout"]
        return None

    async def _drain(self) -> list[RawOutput]:
        """What the engine still holds after a kill."""
        outputs = []
        try:
            async with asyncio.timeout(_DRAIN_SECONDS):
                while not self._truncated and (piece := await self._sandbox.receive()) is not None:
                    outputs.extend(self._accept(*piece))
        except (TimeoutError, SandboxLostError):
            return outputs
        return outputs + self._held_back()

    async def _ended_without_mark(self) -> Outcome:
        """The sandbox's streams ended first: the program, or the kernel, killed the guest."""
        end = await self._sandbox.wait()
        usage = await self._sandbox.usage() or Usage()
        oom = end.oom_killed or bool(usage.oom_kills)
        return self._outcome("out_of_memory" if oom else "killed", 137, usage)

    async def _finished(self, mark: Mark) -> Outcome:
        if mark.phase == "full":
            raise InvalidRequestError(
                "request", "its code, input and files do not fit the scratch space", "Raise the scratch limit."
            )
        seen = await self._sandbox.usage()
        usage = seen or Usage(peak_memory=mark.peak_memory, cpu_time=mark.cpu_time, oom_kills=mark.oom_kills)
        status: Status = "success"
        if mark.code != 0:
            status = "out_of_memory" if usage.oom_kills else "killed" if mark.code == 137 else "error"
        outcome = self._outcome(status, mark.code, usage)
        if self._request.collect and mark.phase == "run":
            files, complete = await self._collect()
            outcome = replace(outcome, files=files, files_truncated=not complete)
        return outcome

    def _outcome(self, status: Status, exit_code: int | None, usage: Usage | None = None) -> Outcome:
        now = time.monotonic()
        build_ended = self._build_ended or (now if self._phase == "build" else self._started)
        return Outcome(
            status=status,
            exit_code=exit_code,
            phase=self._phase,
            truncated=frozenset(self._truncated),
            usage=usage or Usage(),
            build_seconds=build_ended - self._started,
            run_seconds=now - build_ended if self._phase == "run" else 0.0,
        )

    async def _collect(self) -> tuple[tuple[OutputFile, ...], bool]:
        """The files that match, and whether they are all there."""
        boundary = new_boundary()
        scanner, archive, complete = Scanner(boundary), io.BytesIO(), False
        try:
            async with asyncio.timeout(_COLLECT_SECONDS):
                await self._sandbox.send(collect_message(self._request.collect, boundary=boundary))
                while not complete and (piece := await self._sandbox.receive()) is not None:
                    if piece[0] != "stdout":
                        continue
                    for part in scanner.feed(piece[1]):
                        if isinstance(part, Mark):
                            complete = True
                        elif archive.tell() + len(part) > 4 * self._collect_limit + _TAR_OVERHEAD:
                            return self._unpack(archive, complete=False)
                        else:
                            archive.write(part)
        except (TimeoutError, SandboxLostError):
            pass
        return self._unpack(archive, complete=complete)

    def _unpack(self, archive: io.BytesIO, *, complete: bool) -> tuple[tuple[OutputFile, ...], bool]:
        """The regular files of an archive that whoever ran inside may have made up."""
        wanted, room = collect_pattern(self._request.collect), self._collect_limit
        files: dict[str, OutputFile] = {}
        archive.seek(0)
        try:
            # A `find -exec {} +` may run tar more than once: archives one behind the other.
            with tarfile.open(fileobj=archive, ignore_zeros=True) as tar:
                for member in tar:
                    path = member.name.removeprefix("./")
                    content = tar.extractfile(member) if member.isreg() and wanted.fullmatch(path) else None
                    if content is None:
                        continue
                    if member.size > room:
                        return tuple(files.values()), False
                    room -= member.size
                    files[path] = OutputFile(path, content.read())
        except tarfile.TarError:
            complete = complete and archive.getbuffer().nbytes == 0
        return tuple(files.values()), complete


async def is_alive(sandbox: Sandbox, *, within: float) -> bool:
    """Whether a sandbox that stands by still answers.

    Args:
        sandbox: It has run nothing.
        within: Seconds that it may take.

    Returns:
        True when it answered in time.
    """
    boundary = new_boundary()
    marked: set[StreamName] = set()
    scanners = {"stdout": Scanner(boundary), "stderr": Scanner(boundary)}
    try:
        async with asyncio.timeout(within):
            await sandbox.send(ping_message(boundary))
            while len(marked) < 2 and (piece := await sandbox.receive()) is not None:
                if any(isinstance(part, Mark) for part in scanners[piece[0]].feed(piece[1])):
                    marked.add(piece[0])
    except (TimeoutError, SandboxLostError):
        return False
    return len(marked) == 2
