"""What a sandbox and its backend do from start to end, and what they leave behind: nothing."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from xagent_bubblewrap.backend import BubblewrapBackend

from xagent_core import Engine, SandboxLostError, SandboxStartError
from xagent_core.abc.backend import SandboxSpec
from xagent_core.testing.backends.common import answers
from xagent_core.types import ExecutionRequest

pytestmark = pytest.mark.engine("bubblewrap")

Leftovers = Callable[[], dict[str, object]]


def spec_of(engine: Engine, language: str = "sh") -> SandboxSpec:
    return engine.plan(ExecutionRequest(code="", language=language)).spec


async def test_a_program_runs_and_the_result_tells_about_it(engine: Engine) -> None:
    result = await engine.execute(
        "import sys; print(sys.stdin.read().upper()); sys.exit(3)", language="python", stdin="a"
    )
    assert (result.status, result.output, result.exit_code, result.backend) == ("error", "A\n", 3, "bubblewrap")


async def test_fifty_runs_leave_nothing(make_engine: Callable[..., Engine], leftovers: Leftovers) -> None:
    async with make_engine(ready=2) as engine:
        await engine.execute("print(0)", language="python")
    before = leftovers()
    async with make_engine(ready=2) as engine:
        results = await asyncio.gather(*(engine.execute(f"print({n})", language="python") for n in range(50)))
    assert [result.output for result in results] == [f"{n}\n" for n in range(50)]
    assert leftovers() == before


async def test_a_kill_wakes_who_waits(engine: Engine) -> None:
    sandbox = await engine.backend.start(spec_of(engine))
    reading = asyncio.create_task(sandbox.receive())
    # More than a pipe holds, to a guest that is busy: the writer must wait.
    writing = asyncio.create_task(sandbox.send(b"sleep 100\n" + b"#" * 200_000))
    await asyncio.sleep(0.2)
    assert not reading.done()
    assert not writing.done()
    await sandbox.kill()
    assert await reading is None
    with pytest.raises(SandboxLostError) as caught:
        await writing
    assert caught.value.code_ran == "no"
    with pytest.raises(SandboxLostError):
        await sandbox.send(b"x")


def _processes(mark: str) -> list[Path]:
    return [path for path in Path("/proc").glob("[0-9]*/cmdline") if mark.encode() in _read(path)]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


async def test_a_program_that_is_missing_says_what_to_install(engine: Engine) -> None:
    with pytest.raises(SandboxStartError, match=r"no program 'no-such-program' for none was found\. Install it"):
        await engine.execute("", language="none")


async def test_what_keeps_bwrap_from_starting_is_told(engine: Engine) -> None:
    with pytest.raises(SandboxStartError, match=r"sandbox|bwrap|mount|size"):
        await engine.backend.start(replace(spec_of(engine), scratch=-1))


async def test_the_backend_recovers_from_the_end_of_its_fork_server(engine: Engine) -> None:
    backend = engine.backend
    assert isinstance(backend, BubblewrapBackend)
    running = await backend.start(spec_of(engine))
    assert await answers(running)
    os.kill((await backend._opened()).launcher.pid, signal.SIGKILL)
    async with asyncio.timeout(30):
        assert await running.receive() is None  # its sandboxes end with it
        with pytest.raises(SandboxLostError, match="fork server ended"):
            await running.wait()
    await running.kill()
    result = await engine.execute("echo again", language="sh")
    assert result.output == "again\n"


async def test_closing_ends_what_nobody_killed(engine: Engine) -> None:
    sandbox = await engine.backend.start(spec_of(engine))
    await engine.backend.aclose()
    async with asyncio.timeout(30):
        assert await sandbox.receive() is None
    await sandbox.kill()


def test_nothing_outlives_an_owner_that_is_killed(tmp_path: Path, groups_of: Callable[[int], list[str]]) -> None:
    script = tmp_path / "owner.py"
    script.write_text(
        textwrap.dedent("""
        import asyncio, sys
        sys.path.insert(0, sys.argv[1])
        import conftest
        from xagent_bubblewrap.backend import BubblewrapBackend
        from xagent_core import Engine, PoolConfig

        async def main():
            async with Engine(BubblewrapBackend(), plugins=conftest.own_plugins(), pool=PoolConfig(ready=1)) as engine:
                async for event in engine.stream(sys.argv[2], language="sh"):
                    machine = await engine.backend._opened()
                    print(machine.launcher.pid, int(machine.tree is not None), flush=True)

        asyncio.run(main())
        """)
    )
    # Of this process alone: the same test may run as another user at the same time.
    seconds = f"321.{os.getpid()}"
    command = [
        sys.executable,
        str(script),
        str(Path(__file__).parent),
        f"echo running; sleep {seconds} & sleep {seconds}",
    ]
    owner = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    with owner:
        server, has_groups = map(int, owner.stdout.readline().split())
        assert bool(groups_of(owner.pid)) == has_groups
        owner.kill()
    end = time.monotonic() + 30
    while time.monotonic() < end:
        left = _processes(seconds)
        groups = groups_of(owner.pid)
        if not left and not groups and not _read(Path(f"/proc/{server}/cmdline")):
            return
        time.sleep(0.02)
    pytest.fail(f"left behind: {left} {groups}")
