"""Limits and network policies: those that are claimed hold, and those that are not are refused."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import pytest

from xagent_core.engine import Engine
from xagent_core.errors import SandboxStartError
from xagent_core.testing.backends.common import BackendSuite, spec_of
from xagent_core.types import MIB, Limits, NetworkPolicy

__all__ = ["LimitConformance"]

_LIMITS: Final = ("memory", "cpus", "processes", "scratch")


class LimitConformance(BackendSuite, suite=True):
    """Tests of what `capabilities` claims."""

    async def test_limits_that_are_not_claimed_are_refused(self, engine: Engine) -> None:
        """Each, unless the spec says that it need not hold."""
        spec = spec_of(engine)
        assert set(spec.unenforced) == set(_LIMITS) - (await engine.backend.capabilities()).limits
        for limit in spec.unenforced:
            others = tuple(name for name in spec.unenforced if name != limit)
            with pytest.raises(SandboxStartError, match=limit):
                await engine.backend.start(spec_of(engine, unenforced=others))

    @pytest.mark.parametrize("network", list(NetworkPolicy))
    async def test_a_network_policy_holds_or_is_refused(self, engine: Engine, network: NetworkPolicy) -> None:
        """A sandbox has other interfaces than loopback only where it may reach them."""
        if network not in (await engine.backend.capabilities()).networks:
            with pytest.raises(SandboxStartError):
                await engine.backend.start(spec_of(engine, network=network))
            return
        code = "import socket; print(*[name for _, name in socket.if_nameindex()])"
        names = (await engine.execute(code, network=network)).output.split()
        assert "lo" in names
        assert (len(names) > 1) is (network is NetworkPolicy.INTERNET)

    async def test_memory_ends_the_program_and_is_told(self, engine: Engine) -> None:
        """What it printed before is there, and so is a program that stays below."""
        await _claimed(engine, "memory")
        code = "print('before'); size = int(input()) << 20; data = bytearray(size); print('after')"
        small = await engine.execute(code, memory_limit="64m", stdin="20")
        assert (small.status, small.output) == ("success", "before\nafter\n")
        large = await engine.execute(code, memory_limit="64m", stdin="200")
        assert (large.status, large.output) == ("out_of_memory", "before\n")

    async def test_memory_is_counted_for_all_processes_together(self, engine: Engine) -> None:
        """Four of 40 MiB each do not fit 96 MiB."""
        await _claimed(engine, "memory")
        code = """if True:
            import os
            children, (until, end) = [], os.pipe()
            for _ in range(4):
                has, tell = os.pipe()
                child = os.fork()
                if child == 0:
                    os.close(end)
                    data = bytearray(40 << 20)
                    os.write(tell, b"1")
                    os.read(until, 1)
                    os._exit(0)
                os.close(tell)
                children.append((child, has))
            for _, has in children:
                os.read(has, 1)  # it has its memory, or was killed for it
            os.close(end)
            print(sum(os.waitpid(child, 0)[1] != 0 for child, _ in children))"""
        result = await engine.execute(code, memory_limit="96m")
        assert result.status == "out_of_memory" or int(result.output) > 0

    async def test_cpu_time_is_shared_out(self, engine: Engine) -> None:
        """A quarter of a CPU is no more than that over a second and a half."""
        await _claimed(engine, "cpus")
        code = """if True:
            import time
            begun, used = time.monotonic(), time.process_time()
            while time.monotonic() < begun + 1.5:
                pass
            print((time.process_time() - used) / (time.monotonic() - begun))"""
        result = await engine.execute(code, cpu_limit=0.25)
        assert float(result.output) < 0.45

    async def test_a_fork_bomb_is_held(self, engine: Engine) -> None:
        """The kernel refuses the process that is one too many; most of the allowed ones can be made."""
        await _claimed(engine, "processes")
        code = """if True:
            import os, signal, time
            made = []
            try:
                while len(made) < 1000:
                    child = os.fork()
                    if child == 0:
                        time.sleep(60)
                        os._exit(0)
                    made.append(child)
                why = "nothing"
            except OSError as error:
                why = error.errno
            for child in made:
                os.kill(child, signal.SIGKILL)
            print(len(made), why)"""
        result = await engine.execute(code, limits=Limits(processes=32))
        made, why = result.output.split()
        assert 16 < int(made) < 32
        assert why == "11"

    async def test_sandboxes_do_not_share_their_processes(self, engine: Engine) -> None:
        """Three with 30 each can have 20 each at the same time."""
        await _claimed(engine, "processes")
        code = """if True:
            import os, time
            for _ in range(20):
                if os.fork() == 0:
                    time.sleep(2)
                    os._exit(0)
            time.sleep(1)
            print("made all")"""
        limits = Limits(processes=30)
        results = await asyncio.gather(*(engine.execute(code, limits=limits) for _ in range(3)))
        assert [result.output for result in results] == ["made all\n"] * 3, results

    async def test_scratch_is_limited_as_a_whole(self, engine: Engine) -> None:
        """In bytes, wherever they are written; what files without content take is held too, as scratch or as memory."""
        await _claimed(engine, "scratch")
        code = """if True:
            import os
            def fill(path, size):
                try:
                    with open(path, "wb") as file:
                        file.write(bytes(size))
                    return "written"
                except OSError as error:
                    return error.errno
            print(fill("a", 5 << 20), fill("b", 5 << 20))
            os.unlink("a"), os.unlink("b")
            made = 0
            try:
                for made in range(200_000):
                    os.close(os.open(f"f{made}", os.O_CREAT | os.O_WRONLY))
            except OSError as error:
                print(error.errno)"""
        arguments: dict[str, Any] = {"limits": Limits(scratch=8 * MIB), "timeout": 60}
        result = await engine.execute(code, **arguments)
        written, *full = result.output.split()
        assert written == "written"
        assert full == ["28", "28"] or (full == ["28"] and result.status == "out_of_memory"), result


async def _claimed(engine: Engine, limit: str) -> None:
    """Skips the test of a limit that this backend truthfully does not claim on this machine."""
    capabilities = await engine.backend.capabilities()
    if limit not in capabilities.limits:
        pytest.skip(f"{limit} is not claimed: {capabilities.how.get(limit, 'not held')}")
