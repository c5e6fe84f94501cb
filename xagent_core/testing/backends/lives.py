"""From start to kill: what a first process is, that nothing outlives a kill, and what a failed start leaves."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import Counter
from collections.abc import Callable, Collection
from pathlib import Path

import pytest

from xagent_core.abc.backend import SandboxSpec
from xagent_core.engine import Engine
from xagent_core.errors import BackendUnavailableError, ImageNotFoundError, SandboxLostError, SandboxStartError
from xagent_core.testing.backends.common import (
    PATIENCE,
    BackendSource,
    BackendSuite,
    answers,
    becomes,
    gone,
    make_backend,
    new_mark,
    processes,
    read_until,
    seen,
    spec_of,
    started,
    without_pull,
)

__all__ = ["LifeConformance"]

Leftovers = Callable[[], Collection[str]]
# The contract's, and some more for a machine that does other things too.
_PROBE_SECONDS = 10.0 + 3.0
# A process that has gone is told of at once, and removed from /proc a moment later.
_SOON = 10.0


class LifeConformance(BackendSuite, suite=True):
    """Tests of `probe`, `start`, `kill`, `usage` and `aclose`."""

    async def test_the_probe_is_right(self, engine: Engine, backend: BackendSource) -> None:
        """A new backend says in time that it can be used, of which version, and a sandbox starts."""
        made = make_backend(backend)
        try:
            async with asyncio.timeout(_PROBE_SECONDS):
                probe = await made.probe()
            assert probe.available
            assert probe.version
            assert await made.probe() == probe, "it says something else the second time"
            capabilities = await made.capabilities()
            assert capabilities.limits <= {"memory", "cpus", "processes", "scratch"}
            assert set(capabilities.how) >= capabilities.limits, "`how` says how each limit is held"
            sandbox = await made.start(spec_of(engine))
            assert await answers(sandbox)
            await sandbox.kill()
        finally:
            await made.aclose()
        if isinstance(backend, str):
            assert made.name == backend

    async def test_an_engine_that_is_not_there_is_told_with_its_remedy(
        self, engine: Engine, unavailable: BackendSource | None
    ) -> None:
        """`probe` does not raise, and says what to do; `start` raises the same."""
        if unavailable is None:
            pytest.skip("the fixture `unavailable` gives no backend whose engine is missing")
        made = make_backend(unavailable)
        try:
            async with asyncio.timeout(_PROBE_SECONDS):
                probe = await made.probe()
            assert not probe.available
            assert probe.detail
            assert probe.fix
            with pytest.raises(BackendUnavailableError) as caught:
                await made.start(spec_of(engine))
            assert caught.value.component == made.name
            assert caught.value.fix
        finally:
            await made.aclose()

    async def test_the_first_process_is_what_was_asked_for(self, engine: Engine) -> None:
        """Its arguments arrive as they are, and its environment is PATH and what was given."""
        odd = ("a b", "", "$HOME '\"\\", "ünö", "two\nlines")
        show = "import os, sys; print(sys.argv[1:], dict(os.environ), os.getppid(), flush=True)"
        env = (("HOME", "/tmp/work"), ("ODD", "= ä\n$x"))
        async with started(engine, "python3", "-c", show, *odd, env=env) as sandbox:
            seen = (await read_until(sandbox, lambda _: False))["stdout"].decode()
        assert str(list(odd)) in seen
        assert all(f"{name!r}: {value!r}" in seen for name, value in env)
        names = {word.strip("'") for word in seen.partition("{")[2].replace(": ", ", ").split(", ")[::2]}
        # Engines name the sandbox in its environment.
        assert names <= {"PATH", "HOME", "ODD", "HOSTNAME", "container", "LC_CTYPE", "PWD"}, "the environment has more"
        assert "'PATH': '" in seen

    async def test_when_kill_returns_nothing_of_it_is_left(self, engine: Engine, leftovers: Leftovers) -> None:
        """Daemons and processes that ignore signals end too, and the engine forgets the sandbox."""
        before, mark = set(leftovers()), new_mark()
        stubborn = "trap '' TERM INT HUP; (setsid sh -c 'sleep 1000' $0 &) ; echo up; while :; do sleep 1000; done"
        async with started(engine, "sh", "-c", stubborn, mark) as sandbox:
            await read_until(sandbox, lambda seen: b"up\n" in seen["stdout"])
            assert processes(mark)
            await sandbox.kill()
            assert await gone(mark, within=_SOON), f"left: {processes(mark)}"
            assert set(leftovers()) <= before

    async def test_a_kill_may_be_repeated_and_loses_no_output(self, engine: Engine) -> None:
        """At the same time too; what was written before it can be fetched after it."""
        mark = new_mark()
        script = "echo first; read -r next; echo second >&2; sh -c 'sleep 1000; exit' $0-then"
        async with started(engine, "sh", "-c", script, mark) as sandbox:
            await read_until(sandbox, lambda seen: b"\n" in seen["stdout"])
            await sandbox.send(b"next\n")
            # Only to fetch it could tell that it has come; that it was written is told by what runs then.
            assert await seen(f"{mark}-then")
            await asyncio.sleep(0.5)
            await asyncio.gather(sandbox.kill(), sandbox.kill())
            await sandbox.kill()
            assert await read_until(sandbox, lambda _: False) == {"stdout": b"", "stderr": b"second\n"}
            assert await sandbox.receive() is None
            async with asyncio.timeout(PATIENCE):
                await sandbox.wait()

    async def test_a_sandbox_that_has_ended_can_be_killed(self, engine: Engine, leftovers: Leftovers) -> None:
        """An end by itself is no error for whoever kills it a moment later."""
        before = set(leftovers())
        async with started(engine, "true") as sandbox:
            await read_until(sandbox, lambda _: False)
            await sandbox.kill()
            await sandbox.kill()
            with pytest.raises(SandboxLostError):
                await sandbox.send(b"anything\n")
        assert set(leftovers()) <= before

    async def test_sandboxes_at_the_same_time_are_apart(self, engine: Engine) -> None:
        """Eight that start together answer each with its own word, and have ids of their own."""
        async with asyncio.timeout(3 * PATIENCE):
            sandboxes = await asyncio.gather(*(engine.backend.start(spec_of(engine)) for _ in range(8)))
        try:
            assert len({sandbox.id for sandbox in sandboxes}) == 8
            for number, sandbox in enumerate(sandboxes):
                await sandbox.send(f"echo {number} >{number}; echo * >&4\n".encode())
            for number, sandbox in enumerate(sandboxes):
                told = await read_until(sandbox, lambda told: b"\n" in told["stdout"])
                assert told["stdout"] == f"{number}\n".encode()
        finally:
            await asyncio.gather(*(sandbox.kill() for sandbox in sandboxes))

    async def test_a_cancelled_start_leaves_nothing(self, engine: Engine, leftovers: Leftovers) -> None:
        """Whenever it is cancelled."""
        before, mark = set(leftovers()), new_mark()
        spec = spec_of(engine, "sh", "-c", "sleep 1000", mark)
        clock = asyncio.get_running_loop().time
        begun = clock()
        await (await engine.backend.start(spec)).kill()
        whole = clock() - begun
        for tenth in range(12):
            start = asyncio.ensure_future(engine.backend.start(spec))
            await asyncio.sleep(whole * tenth / 10)
            if start.done():
                await start.result().kill()
                continue
            start.cancel()
            async with asyncio.timeout(PATIENCE):
                await asyncio.wait([start])
            if not start.cancelled():
                await start.result().kill()
            assert await gone(mark, within=_SOON), f"cancelled after {tenth}/10 of a start, left: {processes(mark)}"
            assert set(leftovers()) <= before, f"cancelled after {tenth}/10 of a start"
        assert await gone(mark, within=_SOON), f"left: {processes(mark)}"
        assert set(leftovers()) <= before

    async def test_a_start_that_fails_leaves_nothing(
        self, engine: Engine, backend: BackendSource, leftovers: Leftovers
    ) -> None:
        """What a sandbox needs and is not there: an error with its remedy."""
        before = set(leftovers())
        images = (await engine.backend.capabilities()).images
        made = make_backend(without_pull(backend) if images else backend)
        nowhere = {"image": "xagent.invalid/no-such-image:1", "executables": ("no-such-program",)}
        try:
            with pytest.raises(ImageNotFoundError if images else SandboxStartError) as caught:
                await made.start(spec_of(engine, language="no-such-language", **nowhere))
            assert caught.value.component == made.name
            assert caught.value.fix
        finally:
            await made.aclose()
        assert set(leftovers()) <= before

    async def test_usage_is_told_where_it_is_claimed(self, engine: Engine) -> None:
        """`usage` has figures if, and only if, the capabilities say so."""
        claimed = (await engine.backend.capabilities()).reports_usage
        async with started(engine) as sandbox:
            assert await answers(sandbox)
            usage = await sandbox.usage()
        assert (usage is not None) is claimed
        if usage is not None:
            assert usage.peak_memory or usage.cpu_time

    async def test_closing_frees_everything_and_may_be_repeated(self, engine: Engine, backend: BackendSource) -> None:
        """Descriptors, threads and processes of this process are no more than before the backend was made."""
        await _one_life(backend, spec_of(engine))  # what is made once for the process, such as a loaded library
        before = _held()
        await _one_life(backend, spec_of(engine))
        # Threads end a moment after they were told to: those of the first life may still have been there, too.
        assert await becomes(lambda: not _held() - before, PATIENCE), _held() - before


async def _one_life(backend: BackendSource, spec: SandboxSpec) -> None:
    """One that is not used at all, and one that has started a sandbox."""
    unused = make_backend(backend)
    await unused.aclose()
    made = make_backend(backend)
    sandbox = await made.start(spec)
    await sandbox.kill()
    await made.aclose()
    await made.aclose()


def _held() -> Counter[str]:
    threads = [thread.name for thread in threading.enumerate() if not thread.name.startswith("asyncio_")]
    held = Counter(f"thread {name}" for name in threads)
    for path in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(OSError):  # this thread has just ended
            held.update(f"child {pid}" for pid in path.read_text().split())
    held["descriptors"] = len(list(Path("/proc/self/fd").iterdir()))
    return held
