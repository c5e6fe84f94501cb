"""A sandbox that is kept between calls: files stay, and variables where the language has a kernel."""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import glob
import json
import time
from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Any, Final, Self

from xagent_core.abc.backend import Sandbox
from xagent_core.abc.language import Language, encode_source
from xagent_core.errors import InvalidRequestError, SessionClosedError
from xagent_core.execution import Transcript, make_result
from xagent_core.guest.collect import collect, listing
from xagent_core.guest.exchange import Exchange, Outcome, RawOutput
from xagent_core.guest.health import answer, is_alive
from xagent_core.guest.kernel import cell_message, interrupt_message, kernel_command, resume_message
from xagent_core.guest.wire import files_message, job_message, new_boundary
from xagent_core.policy import Plan
from xagent_core.pool import Pool
from xagent_core.types import (
    Event,
    ExecutionRequest,
    ExecutionResult,
    FinishedEvent,
    InputFile,
    OutputFile,
    relative_path,
)

__all__ = ["Session"]

_WRITE_SECONDS: Final = 30.0
_CATCH_UP_SECONDS: Final = 5.0


class Session:
    """Runs calls one after another in one sandbox. Made by `Engine.session`; use it as an async context manager.

    Args:
        language: Of all its calls.
        planned: The sandbox and the limits; each call has the planned timeout unless it brings its own.
        pool: Gives the sandbox.
        backend: The backend's name, for results.
        idle_seconds: The session is closed when it was not used for so long.
    """

    def __init__(self, language: Language, planned: Plan, *, pool: Pool, backend: str, idle_seconds: float) -> None:
        self._language = language
        self._planned = planned
        self._pool = pool
        self._backend = backend
        self._idle_seconds = idle_seconds
        self._kernel = language.session
        self._spec = planned.cold
        if self._kernel is not None:
            # The kernel's process is there before a call's environment could come.
            env = tuple((dict(self._spec.env) | dict(language.env)).items())
            self._spec = replace(self._spec, command=kernel_command(self._kernel), env=env)
        self._lease: contextlib.AbstractAsyncContextManager[Sandbox] | None = None
        self._sandbox: Sandbox | None = None
        self._busy = asyncio.Lock()
        self._calls = 0
        self._running = False  # Whether the last of them has not ended.
        self._interrupted = 0  # The last of them that was to be interrupted.
        self._used = time.monotonic()
        self._watch: asyncio.Task[None] | None = None
        self._closed = ""
        self._in_step = True  # Whether all that the guest has answered was read.
        self._lost = False  # Whether a sandbox was given up that no result has told of yet.

    async def __aenter__(self) -> Self:
        """Takes a sandbox.

        Raises:
            BackendError: The backend could not start one.
            PoolTimeoutError: None became free.
        """
        await self._open()
        self._used = time.monotonic()
        self._watch = asyncio.create_task(self._close_when_idle())
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Destroys the sandbox with all that it kept. May be called again."""
        self._closed = self._closed or "it was closed"
        if self._watch is not None and self._watch is not asyncio.current_task():
            self._watch.cancel()
            self._watch = None
        await self._drop()

    async def execute(self, code: str, *, timeout: float | None = None) -> ExecutionResult:  # noqa: ASYNC109
        """Runs one call to its end. Calls wait for each other.

        Args:
            code: Source text.
            timeout: Seconds; by default the session's.

        Returns:
            What became of it. `state_lost` tells when what the session had kept is gone.

        Raises:
            SessionClosedError: The session has ended.
            BackendError: The backend failed; the next call starts afresh.
        """
        async with contextlib.aclosing(self.stream(code, timeout=timeout)) as events:
            async for event in events:
                if isinstance(event, FinishedEvent):
                    return event.result
        raise AssertionError("unreachable: a call ends with a FinishedEvent")

    async def stream(self, code: str, *, timeout: float | None = None) -> AsyncGenerator[Event, None]:  # noqa: ASYNC109
        """Runs one call and yields its output as it is produced; leaving the loop early loses the state.

        Args:
            code: Source text.
            timeout: Seconds; by default the session's.

        Yields:
            `OutputEvent`s, and at last one `FinishedEvent`.

        Raises:
            SessionClosedError: The session has ended.
            BackendError: The backend failed; the next call starts afresh.
        """
        async with self._busy:
            asked = time.monotonic()
            self._calls += 1
            self._running = True
            try:
                sandbox = await self._open()
                if self._interrupted == self._calls:
                    await self._interrupt()  # Before there was a sandbox, nobody could be told.
            except BaseException:
                self._running = False
                raise
            lost_before = self._lost
            transcript, seconds = Transcript(), self._planned.limits.timeout if timeout is None else timeout
            finished = False
            try:
                async with contextlib.aclosing(self._call(sandbox, code, seconds)) as pieces:
                    acquired = time.monotonic() - asked
                    async for piece in pieces:
                        if isinstance(piece, RawOutput):
                            yield transcript.add(piece)
                        else:
                            outcome = piece
                            self._running = False
                result = make_result(outcome, transcript, self._planned, backend=self._backend, acquired=acquired)
                lost = outcome.mark is None or (self._kernel is not None and outcome.mark.note is None)
                if not lost:
                    result = await self._with_note(sandbox, result, outcome)
                    finished = True
            finally:
                self._running = False
                self._used = time.monotonic()
                if not finished:
                    await self._drop()
                    self._lost = True
            self._lost = False
            yield FinishedEvent(result=replace(result, state_lost=lost or lost_before))

    async def interrupt(self) -> None:
        """Ends the call that runs, if one does; its state is kept where the language has a kernel."""
        if self._running:
            self._interrupted = self._calls
            await self._interrupt()

    async def write_file(self, path: str, content: bytes) -> None:
        """Writes a file into the session's workspace.

        Args:
            path: Relative to the workspace; folders are made.
            content: Its bytes.

        Raises:
            InvalidRequestError: The path leaves the workspace, or the scratch space is full.
            SessionClosedError: The session has ended.
        """
        file = InputFile(path, content)
        async with self._files() as sandbox:
            boundary = new_boundary()
            message = files_message(file.path, file.content, boundary=boundary)
            mark = await answer(sandbox, message, boundary=boundary, within=_WRITE_SECONDS)
            self._in_step = mark is not None
        if mark is None or mark.code:
            raise InvalidRequestError("session", f"{path!r} could not be written", "The scratch space may be full.")

    async def read_file(self, path: str) -> bytes:
        """A file of the session's workspace.

        Args:
            path: Relative to the workspace.

        Returns:
            Its bytes.

        Raises:
            InvalidRequestError: The path leaves the workspace, is no regular file, or is larger than the `collect`
                limit.
            SessionClosedError: The session has ended.
        """
        path = relative_path(path, "file")
        async with self._files() as sandbox:
            limit = self._planned.limits.collect
            files, complete = await collect(sandbox, (glob.escape(path),), limit=limit, end_jobs=False)
            self._in_step = complete
        if not files:
            cause = "there is no such file" if complete else "it is larger than the limit, or could not be read"
            raise InvalidRequestError("session", f"{path!r} cannot be read: {cause}", "See list_files.")
        return files[0].content

    async def list_files(self, path: str = ".") -> list[str]:
        """The regular files below a folder of the session's workspace, sorted.

        Args:
            path: Relative to the workspace.

        Returns:
            Their paths, relative to the workspace.

        Raises:
            InvalidRequestError: The path leaves the workspace, or is no folder.
            SessionClosedError: The session has ended.
        """
        folder = "." if path == "." else relative_path(path, "folder")
        async with self._files() as sandbox:
            paths = await listing(sandbox, folder)
            self._in_step = paths is not None
        if paths is None:
            raise InvalidRequestError("session", f"{path!r} cannot be listed", "Is it a folder of the workspace?")
        return paths

    async def _open(self) -> Sandbox:
        """The session's sandbox; a new one where the last call has cost it."""
        if self._closed:
            raise SessionClosedError("session", self._closed, "Open another with engine.session().")
        if self._sandbox is not None and not self._in_step:
            # An answer that was not read to its end comes before the answer to this.
            if not await is_alive(self._sandbox, within=_CATCH_UP_SECONDS):
                await self._drop()
                self._lost = True
            self._in_step = True
        if self._sandbox is None:
            self._lease = self._pool.sandbox(self._spec)
            self._sandbox = await self._lease.__aenter__()
        return self._sandbox

    @contextlib.asynccontextmanager
    async def _files(self) -> AsyncGenerator[Sandbox, None]:
        """The sandbox, for one file operation; whether its answer was read to its end is for the caller to say."""
        async with self._busy:
            sandbox = await self._open()
            self._in_step = False
            try:
                yield sandbox
            finally:
                self._used = time.monotonic()

    async def _drop(self) -> None:
        lease, self._lease, self._sandbox = self._lease, None, None
        if lease is not None:
            await lease.__aexit__(None, None, None)

    def _call(self, sandbox: Sandbox, code: str, timeout: float) -> AsyncGenerator[RawOutput | Outcome, None]:
        boundary = new_boundary()
        if self._kernel is not None:
            program = None
            message = cell_message(encode_source(code), boundary=boundary, number=self._calls)
        else:
            request = ExecutionRequest(code=code, language=self._language.name)
            program = replace(self._language.prepare(request), standby=())
            message = job_message(program, request, boundary=boundary, more=True)
        exchange = Exchange(
            sandbox,
            boundary,
            builds=program is not None and bool(program.build),
            timeout=timeout,
            output_limit=self._planned.limits.output,
            stops=(sandbox.kill,) if program else (self._interrupt, sandbox.kill),
        )
        return exchange.run(message)

    async def _interrupt(self) -> None:
        if self._sandbox is not None and self._kernel is None:
            await self._sandbox.kill()
        elif self._sandbox is not None:
            await self._sandbox.send(interrupt_message(self._calls))

    async def _with_note(self, sandbox: Sandbox, result: ExecutionResult, outcome: Outcome) -> ExecutionResult:
        """Adds what the kernel says of the call: the last value, and figures."""
        if self._kernel is None:
            await sandbox.send(resume_message())
            return result
        note = _parse_note(outcome)
        value, figures = note.get("value"), note.get("figures")
        files: tuple[OutputFile, ...] = ()
        complete = True
        if isinstance(figures, list) and figures:
            shown = [relative_path(str(path), "figure") for path in figures]
            patterns = [glob.escape(path) for path in shown]
            files, complete = await collect(sandbox, patterns, limit=self._planned.limits.collect, end_jobs=False)
            files = tuple(sorted(files, key=lambda file: shown.index(file.path)))
        return replace(result, value=None if value is None else str(value), files=files, files_truncated=not complete)

    async def _close_when_idle(self) -> None:
        while not self._closed:
            rest = self._used + self._idle_seconds - time.monotonic()
            if rest <= 0 and not self._busy.locked():
                self._closed = f"it was not used for {self._idle_seconds:g} s"
                await self._drop()
                return
            await asyncio.sleep(max(rest, 0.05))


def _parse_note(outcome: Outcome) -> dict[str, Any]:
    """What the kernel says; a program that shares its user may have made it up."""
    text = outcome.mark.note if outcome.mark else None
    if not text:
        return {}
    try:
        note = json.loads(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError):
        return {}
    return note if isinstance(note, dict) else {}
