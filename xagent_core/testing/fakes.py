r"""A backend that runs nothing: it answers the guest's messages from a script.

For tests of what is built on a backend or an engine, where no sandbox is at hand or the exact answer matters:

    backend = FakeBackend(FakeRun(stdout=b"42\n"))
    async with Engine(backend) as engine:
        result = await engine.execute("print(6 * 7)")
    assert backend.jobs[0].source == b"print(6 * 7)"
    assert not backend.alive

It is no proof that a real backend works; that is for the conformance suite.
"""

from __future__ import annotations

import asyncio
import io
import itertools
import tarfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from xagent_core.abc.backend import Backend, Capabilities, Probe, Sandbox, SandboxExit, SandboxSpec
from xagent_core.errors import SandboxLostError, XAgentError
from xagent_core.testing.messages import FakeJob, message_kind, parse_job
from xagent_core.types import NetworkPolicy, StreamName

__all__ = ["ALL_HELD", "FakeBackend", "FakeJob", "FakeRun", "FakeSandbox"]

_LOOK_SECONDS: Final = 0.01

ALL_HELD: Final = Capabilities(
    limits=frozenset({"memory", "cpus", "processes", "scratch"}),
    networks=frozenset(NetworkPolicy),
    how=dict.fromkeys(("memory", "cpus", "processes", "scratch"), "by nobody: it is a fake"),
)
"""What a `FakeBackend` claims by default: everything."""


@dataclass(frozen=True, kw_only=True)
class FakeRun:
    """What a program is to do.

    Attributes:
        stdout: What it writes there.
        stderr: What it writes there.
        pieces: Written instead of both, piece by piece and in this order.
        pause: Seconds before each piece.
        exit_code: None when it never ends by itself.
        until: Asked again and again once all is written; it goes on when that says so.
        build_exit_code: The exit code of the build step, where the language has one. Not 0: what is written is
            the compiler's, and the program does not run.
        oom_kills: Processes that the kernel has killed for memory.
        dies: The sandbox ends in the middle of the job.
        lost: The connection to the engine breaks in the middle of the job.
        files: What the archive of collected files holds, by path. Nothing about it is checked, as a program that
            makes up its own archive does not either.
    """

    stdout: bytes = b""
    stderr: bytes = b""
    pieces: Sequence[tuple[StreamName, bytes]] = ()
    pause: float = 0.0
    exit_code: int | None = 0
    until: Callable[[], bool] | None = None
    build_exit_code: int = 0
    oom_kills: int | None = None
    dies: bool = False
    lost: bool = False
    files: Mapping[str, bytes] = field(default_factory=dict)


Script = FakeRun | Callable[[FakeJob], FakeRun]


class FakeSandbox(Sandbox):
    """One sandbox of a `FakeBackend`."""

    def __init__(self, name: str, spec: SandboxSpec, backend: FakeBackend) -> None:
        self.id = name
        self.spec = spec
        self._backend = backend
        self._output: asyncio.Queue[tuple[StreamName, bytes] | SandboxLostError | None] = asyncio.Queue()
        self._run = FakeRun()
        self._running: asyncio.Task[None] | None = None
        self._killed = False

    async def send(self, data: bytes) -> None:
        """Takes a message and answers it in the background."""
        if self._killed:
            raise SandboxLostError(self._backend.name, f"{self.id} was killed")
        kind, boundary = message_kind(data)
        if kind == "ready":
            self._mark(boundary, "ready", 0)
        elif kind == "files":
            self._mark(boundary, "files", 0)
            self._output.put_nowait(("stdout", _archive(self._run.files)))
            self._mark(boundary, "files", 0)
        else:
            job = parse_job(data, self.spec)
            self._backend.jobs.append(job)
            script = self._backend.script
            self._run = script if isinstance(script, FakeRun) else script(job)
            self._running = asyncio.create_task(self._play(self._run, job, boundary))

    async def receive(self) -> tuple[StreamName, bytes] | None:
        """The next piece of the answer."""
        piece = await self._output.get()
        if piece is None:
            self._output.put_nowait(None)  # the end stays the end, however often it is asked for
        elif isinstance(piece, SandboxLostError):
            raise piece
        return piece

    async def wait(self) -> SandboxExit:
        """How it ended."""
        return SandboxExit(exit_code=137, oom_killed=bool(self._run.oom_kills))

    async def kill(self) -> None:
        """Ends it."""
        self._killed = True
        if self._running is not None:
            self._running.cancel()
        self._output.put_nowait(None)
        self._backend.alive.discard(self)

    def _mark(self, boundary: str, phase: str, code: int) -> None:
        kills = "-" if self._run.oom_kills is None else self._run.oom_kills
        mark = f"{boundary} {phase} {code} {kills} - -\n".encode()
        self._output.put_nowait(("stdout", mark))
        self._output.put_nowait(("stderr", mark))

    async def _play(self, run: FakeRun, job: FakeJob, boundary: str) -> None:
        self._output.put_nowait(("stdout", f"{boundary} start 0 - - -\n".encode()))
        builds, build_fails = bool(job.build), bool(job.build and run.build_exit_code)
        if builds and not build_fails:
            self._mark(boundary, "build", 0)
        for stream, data in run.pieces or (("stdout", run.stdout), ("stderr", run.stderr)):
            await asyncio.sleep(run.pause)
            self._output.put_nowait((stream, data))
        while run.until is not None and not run.until():  # noqa: ASYNC110 - whoever says so tells nobody
            await asyncio.sleep(_LOOK_SECONDS)
        if run.lost:
            self._output.put_nowait(SandboxLostError(self._backend.name, "the connection broke"))
        elif run.dies:
            self._output.put_nowait(None)
        elif build_fails:
            self._mark(boundary, "build", run.build_exit_code)
        elif run.exit_code is not None:
            self._mark(boundary, "run", run.exit_code)


class FakeBackend(Backend):
    """Starts sandboxes that run nothing.

    Args:
        script: What every program does, or a function that decides it for each.
        name: The backend's name.
        probe: What `probe` answers.
        capabilities: What it claims to hold.
        start_error: Raised by `start`.
        leftovers: What `reap` removes, once.

    Attributes:
        jobs: What the sandboxes were asked to run, in order.
        started: The specs of all sandboxes.
        alive: The sandboxes that were not killed yet.
        closed: Whether `aclose` was called.
    """

    def __init__(
        self,
        script: Script | None = None,
        *,
        name: str = "fake",
        probe: Probe | None = None,
        capabilities: Capabilities = ALL_HELD,
        start_error: XAgentError | None = None,
        leftovers: Sequence[str] = (),
    ) -> None:
        self.name = name
        self.script = script or FakeRun()
        self.jobs: list[FakeJob] = []
        self.started: list[SandboxSpec] = []
        self.alive: set[FakeSandbox] = set()
        self.closed = False
        self._probe = probe or Probe(available=True, version="1.0", detail="a fake that runs nothing")
        self._capabilities = capabilities
        self._start_error = start_error
        self._leftovers = list(leftovers)
        self._numbers = itertools.count(1)

    async def probe(self) -> Probe:
        """What the constructor was told."""
        return self._probe

    async def capabilities(self) -> Capabilities:
        """What the constructor was told."""
        return self._capabilities

    async def start(self, spec: SandboxSpec) -> FakeSandbox:
        """A sandbox that stands by."""
        if self._start_error is not None:
            raise self._start_error
        sandbox = FakeSandbox(f"{self.name}-{next(self._numbers)}", spec, self)
        self.started.append(spec)
        self.alive.add(sandbox)
        return sandbox

    async def reap(self) -> list[str]:
        """Removes the leftovers."""
        removed, self._leftovers = self._leftovers, []
        return removed

    async def aclose(self) -> None:
        """Notes that it was called."""
        self.closed = True


def _archive(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path, content in files.items():
            member = tarfile.TarInfo(path)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()
