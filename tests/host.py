"""A backend for tests: the real guest, under a shell of choice, as process 1 of a namespace, with a `/tmp` of its own.

It isolates nothing else. It is here so that the tests of core run the guest for real where no engine is installed.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import shutil
import signal
import time
import unittest.mock
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from xagent_core import (
    Backend,
    Capabilities,
    ExecutionRequest,
    Probe,
    Program,
    Sandbox,
    SandboxExit,
    SandboxLostError,
    SandboxSpec,
)
from xagent_core.guest.exchange import Exchange, Outcome
from xagent_core.guest.script import guest_command
from xagent_core.guest.wire import job_message, new_boundary
from xagent_core.types import StreamName

SHELLS = {"dash": ("dash",), "bash": ("bash", "--posix"), "busybox": ("busybox", "sh")}

# Ordinary users need a user namespace for the others.
_AS_ROOT = () if os.geteuid() == 0 else ("--user", "--map-root-user")
_UNSHARE = (*_AS_ROOT, "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")


class HostSandbox(Sandbox):
    """The guest as a child process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.id = str(process.pid)
        self._pieces: asyncio.Queue[tuple[StreamName, bytes] | None] = asyncio.Queue(8)
        self._readers = [
            asyncio.create_task(self._read("stdout", process.stdout)),
            asyncio.create_task(self._read("stderr", process.stderr)),
        ]
        self._open = 2

    async def _read(self, name: StreamName, stream: asyncio.StreamReader | None) -> None:
        assert stream is not None
        while data := await stream.read(65536):
            await self._pieces.put((name, data))
        await self._pieces.put(None)

    async def send(self, data: bytes) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(data)
            await self._process.stdin.drain()
        except (BrokenPipeError, ConnectionResetError) as error:
            raise SandboxLostError("host", "the guest has ended") from error

    async def receive(self) -> tuple[StreamName, bytes] | None:
        while self._open:
            piece = await self._pieces.get()
            if piece is not None:
                return piece
            self._open -= 1
        return None

    async def wait(self) -> SandboxExit:
        return SandboxExit(exit_code=await self._process.wait())

    async def kill(self) -> None:
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGKILL)

    async def disown(self) -> None:
        """What the kernel does when the owner dies: closes the guest's input."""
        assert self._process.stdin is not None
        self._process.stdin.close()

    async def aclose(self) -> None:
        await self.kill()
        # Whoever does not fetch the output any more must not keep the readers waiting for room.
        while self._open:
            await self.receive()
        await asyncio.gather(*self._readers)
        await self._process.wait()
        self._process._transport.close()  # type: ignore[attr-defined] # the only way to close its pipes at once


class HostBackend(Backend):
    """Starts guests.

    Args:
        shell: One of `SHELLS`.
        scratch: Size of their `/tmp`, as mount reads it.
    """

    name = "host"

    def __init__(self, shell: str = "dash", scratch: str = "10m") -> None:
        self._shell = SHELLS[shell]
        self._scratch = scratch
        self.sandboxes: list[HostSandbox] = []

    async def probe(self) -> Probe:
        return Probe(available=shutil.which(self._shell[0]) is not None)

    async def capabilities(self) -> Capabilities:
        return Capabilities(limits=frozenset({"memory", "cpus", "processes", "scratch"}))

    async def start(self, spec: SandboxSpec) -> HostSandbox:
        return await self.guest(command=spec.command, env=dict(spec.env))

    async def guest(
        self, *, standby: Sequence[str] = (), command: Sequence[str] = (), env: Mapping[str, str] | None = None
    ) -> HostSandbox:
        """Starts a guest; with a standby interpreter, it looks for its source in `main.x`."""
        command = command or guest_command(source_name="main.x", standby=standby)
        # Whole paths, since a test may give its guest another PATH.
        unshare, mount, setsid, shell = map(shutil.which, ("unshare", "mount", "setsid", self._shell[0]))
        enter = f'{mount} -t tmpfs -o size={self._scratch} tmpfs /tmp && exec {setsid} "$@"'
        process = await asyncio.create_subprocess_exec(
            *(str(unshare), *_UNSHARE, "/bin/sh", "-c", enter, "sh", str(shell), *self._shell[1:], *command[1:]),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={"PATH": "/usr/local/bin:/usr/bin:/bin", **(env or {})},
        )
        sandbox = HostSandbox(process)
        self.sandboxes.append(sandbox)
        return sandbox

    async def reap(self) -> list[str]:
        return []

    async def aclose(self) -> None:
        for sandbox in self.sandboxes:
            await sandbox.aclose()


@dataclass(frozen=True)
class Ran:
    """What a job wrote, and how it ended."""

    outcome: Outcome
    stdout: bytes
    stderr: bytes


async def run_job(
    sandbox: Sandbox,
    run: Sequence[str] = (),
    *,
    build: Sequence[str] = (),
    source: bytes = b"",
    source_name: str = "main.x",
    standby: Sequence[str] = (),
    timeout: float = 10,  # noqa: ASYNC109 - the job's
    output_limit: int = 2**20,
    **request: Any,
) -> Ran:
    """Runs one job as the engine does."""
    asked = ExecutionRequest(code="", **request)
    program = Program(
        source_name=source_name,
        source=source,
        build=tuple(build),
        run=tuple(run),
        env=asked.env,
        standby=tuple(standby),
    )
    boundary = new_boundary()
    exchange = Exchange(
        sandbox,
        boundary,
        builds=bool(build),
        timeout=timeout,
        output_limit=output_limit,
        announced=True,
        stops=(sandbox.kill,),
    )
    written = {"stdout": b"", "stderr": b""}
    async for piece in exchange.run(job_message(program, asked, boundary=boundary)):
        if isinstance(piece, Outcome):
            return Ran(piece, written["stdout"], written["stderr"])
        written[piece.stream] += piece.data
    raise AssertionError("an exchange ends with an outcome")


@contextlib.contextmanager
def slowest_callback() -> Iterator[Callable[[], float]]:
    """Measures how long the event loop was held up at most by one callback.

    In CPU seconds of the loop's own thread, as the wall clock also counts what other processes do; and without the
    collection of garbage, which looks at all that other tests have left in this process, too.
    """
    slowest = 0.0
    run = asyncio.Handle._run

    def measured(handle: asyncio.Handle) -> None:
        nonlocal slowest
        started = time.thread_time()
        run(handle)
        slowest = max(slowest, time.thread_time() - started)

    gc.disable()
    try:
        with unittest.mock.patch.object(asyncio.Handle, "_run", measured):
            yield lambda: slowest
    finally:
        gc.enable()
