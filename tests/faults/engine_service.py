"""What the service of a container engine can do to its sandboxes: die, stop, lose its socket, run out of disk."""

import asyncio
import contextlib
import signal
from pathlib import Path
from typing import ClassVar, Protocol

import pytest

from xagent_core import (
    BackendError,
    BackendUnavailableError,
    Engine,
    ExecutionRequest,
    ExecutionResult,
    OutputEvent,
    Sandbox,
    SandboxLostError,
)


class Service(Protocol):
    """An engine's service of the tests' own."""

    socket: Path
    storage: Path

    def start(self) -> None:
        """Starts it; when that returns, it listens."""

    def end(self, how: signal.Signals) -> None:
        """Ends it, and returns when it has ended."""

    def tell(self, how: signal.Signals) -> None:
        """Sends it a signal."""


async def start(engine: Engine):
    return await engine.backend.start(engine.plan(ExecutionRequest(code="", language="bash")).spec)


async def begun(engine: Engine, code: str, **arguments) -> asyncio.Task[ExecutionResult]:
    """A bash program that has begun, which it says by its first line."""
    events = engine.stream(code, language="bash", **arguments)
    assert isinstance(await anext(events), OutputEvent)

    async def rest() -> ExecutionResult:
        *_, finished = [event async for event in events]
        return finished.result

    return asyncio.create_task(rest())


async def until_refused(sandbox: Sandbox) -> None:
    """Sends lines until one cannot be sent, which raises."""
    for _ in range(300):
        await sandbox.send(b"echo\n")
        await asyncio.sleep(0.1)


class ServiceFaults:
    """The tests; a subclass's module has the fixtures `service` and `engine`."""

    name: ClassVar[str]
    """What errors call it."""
    command: ClassVar[str]
    """Its command."""
    refused: ClassVar[type[BackendError]]
    """What is raised when it cannot make a container."""

    @pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
    async def test_a_service_that_goes_and_comes_back(self, service, engine, how):
        ready = await start(engine)
        running = await begun(engine, "echo begun; sleep 60", timeout=90)

        await asyncio.to_thread(service.end, how)
        try:
            with pytest.raises(SandboxLostError) as caught:
                await running
            assert caught.value.code_ran == "maybe"
            # Each connection hears of it by itself.
            with pytest.raises(SandboxLostError) as caught:
                await until_refused(ready)
            assert caught.value.code_ran == "no"
            with pytest.raises(BackendUnavailableError, match=rf"no {self.name} (listens|runs)"):
                await start(engine)
            assert not (await engine.backend.probe()).available
        finally:
            await asyncio.to_thread(service.start)

        assert (await engine.execute("echo back", language="bash")).output == "back\n"
        await self.nothing_is_left(service)

    async def nothing_is_left(self, service: Service) -> None:
        """Where the engine promises it."""

    async def test_a_socket_that_is_gone(self, service, engine):
        running = await begun(engine, "echo begun; sleep 1; echo done")
        elsewhere = service.socket.rename(service.socket.with_name("elsewhere"))
        try:
            with pytest.raises(BackendUnavailableError, match="there is no socket"):
                await engine.execute("echo", language="bash")
            # What was connected before goes on.
            assert (await running).output == "begun\ndone\n"
        finally:
            elsewhere.rename(service.socket)
        assert (await engine.execute("echo back", language="bash")).output == "back\n"

    async def test_a_full_disk(self, service, engine):
        running = await begun(engine, "echo begun; sleep 2; echo done | tee out", collect=["out"])
        filler = service.storage / "filler"
        try:
            with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(4096))
            with pytest.raises(self.refused, match="no space left on device") as caught:
                await engine.execute("echo", language="bash")
            assert f"{self.command} system df" in caught.value.fix
            # What runs has its scratch space in memory, and so does its result come.
            result = await running
            assert (result.output, [file.content for file in result.files]) == ("begun\ndone\n", [b"done\n"])
        finally:
            filler.unlink()
        assert (await engine.execute("echo back", language="bash")).output == "back\n"

    async def test_a_service_that_stands_still(self, service, engine, monkeypatch):
        """Nothing is known of what it was asked: it has its time, and no more, and the caller is told."""
        monkeypatch.setattr("xagent_core.containers.backend._PROBE_SECONDS", 2)
        assert (await engine.execute("echo first", language="bash")).output == "first\n"
        service.tell(signal.SIGSTOP)
        try:
            call = asyncio.ensure_future(engine.execute("echo", language="bash"))
            await asyncio.sleep(1)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asyncio.wait_for(call, 40)
            assert not (await engine.backend.probe()).available
        finally:
            service.tell(signal.SIGCONT)
        with contextlib.suppress(BackendError):
            await engine.backend.reap()
        assert (await engine.execute("echo back", language="bash")).output == "back\n"
