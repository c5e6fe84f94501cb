"""Backends with one fault each, made of a good one: each test of the suite must find the fault that it is there for."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import ClassVar

from xagent_core import (
    Backend,
    BackendError,
    Capabilities,
    NetworkPolicy,
    Probe,
    Sandbox,
    SandboxExit,
    SandboxLostError,
    get_backend,
)
from xagent_core.types import MIB


class GoodSandbox(Sandbox):
    """Passes everything on."""

    def __init__(self, inner: Sandbox) -> None:
        self.inner, self.id = inner, inner.id

    async def send(self, data):
        await self.inner.send(data)

    async def receive(self):
        return await self.inner.receive()

    async def wait(self):
        return await self.inner.wait()

    async def kill(self):
        await self.inner.kill()

    async def usage(self):
        return await self.inner.usage()


class GoodBackend(Backend):
    """Passes everything on."""

    name = "bubblewrap"
    sandbox = GoodSandbox

    def __init__(self, **options):
        self.inner = get_backend("bubblewrap", **options)

    async def probe(self):
        return await self.inner.probe()

    async def capabilities(self):
        return await self.inner.capabilities()

    async def start(self, spec):
        return self.sandbox(await self.inner.start(spec))

    async def reap(self):
        return await self.inner.reap()

    async def aclose(self):
        await self.inner.aclose()


# Streams.


class Buffering(GoodBackend):
    """Fetches a lot of output whether or not anybody asks."""

    class sandbox(GoodSandbox):  # noqa: N801
        def __init__(self, inner):
            super().__init__(inner)
            self.pieces = asyncio.Queue()
            self.reading = asyncio.create_task(self.read())

        async def read(self):
            fetched = 0
            while fetched < 32 * MIB and (piece := await self.inner.receive()):
                self.pieces.put_nowait(piece)
                fetched += len(piece[1])

        async def receive(self):
            while self.pieces.empty() and not self.reading.done():  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            return await self.inner.receive() if self.pieces.empty() else self.pieces.get_nowait()


class Merging(GoodBackend):
    """Tells stderr for stdout."""

    class sandbox(GoodSandbox):  # noqa: N801
        async def receive(self):
            piece = await self.inner.receive()
            return piece and ("stdout", piece[1])


class Cutting(GoodBackend):
    """Loses the end of large pieces."""

    class sandbox(GoodSandbox):  # noqa: N801
        async def receive(self):
            piece = await self.inner.receive()
            return piece and (piece[0], piece[1][:65_000])


class Late(GoodBackend):
    """Attaches to the output a moment after the start."""

    async def start(self, spec):
        sandbox = await super().start(spec)
        await sandbox.receive()
        return sandbox


class EndsOnce(GoodBackend):
    """Tells the end of output once, and then fails."""

    class sandbox(GoodSandbox):  # noqa: N801
        ended = False

        async def receive(self):
            if self.ended:
                raise SandboxLostError("broken", "it has ended")
            piece = await self.inner.receive()
            self.ended = piece is None
            return piece


class AlwaysZero(GoodBackend):
    """Makes up an exit code."""

    class sandbox(GoodSandbox):  # noqa: N801
        async def wait(self):
            return SandboxExit(exit_code=0)


class LosesWhenCancelled(GoodBackend):
    """Drops a piece that comes for somebody who does not wait any more."""

    class sandbox(GoodSandbox):  # noqa: N801
        cancelled = False

        async def receive(self):
            try:
                piece = await self.inner.receive()
            except asyncio.CancelledError:
                self.cancelled = True
                raise
            if self.cancelled and piece is not None:
                self.cancelled = False
                return await self.receive()
            return piece


class Greedy(GoodBackend):
    """Takes whatever it is sent."""

    class sandbox(GoodSandbox):  # noqa: N801
        async def send(self, data):
            asyncio.ensure_future(self.inner.send(data)).add_done_callback(lambda task: task.exception())


# Lives.


class Optimist(GoodBackend):
    """Says that it can be used, whatever is there."""

    async def probe(self):
        return Probe(available=True, version="1", detail="fine")


class AddsVariables(GoodBackend):
    """Adds a variable of its own."""

    async def start(self, spec):
        return await super().start(replace(spec, env=(*spec.env, ("EXTRA", "1"))))


class KillsLater(GoodBackend):
    """Does not wait until a kill is done."""

    class sandbox(GoodSandbox):  # noqa: N801
        async def kill(self):
            self.later = asyncio.create_task(self.kill_later())

        async def kill_later(self):
            await asyncio.sleep(3)
            await self.inner.kill()


class KillsOnce(GoodBackend):
    """Fails when it is told again."""

    class sandbox(GoodSandbox):  # noqa: N801
        killed = False

        async def kill(self):
            if self.killed:
                raise BackendError("broken", "there is no such sandbox")
            self.killed = True
            await self.inner.kill()


class SharesIds(GoodBackend):
    """Gives all sandboxes the same id."""

    async def start(self, spec):
        sandbox = await super().start(spec)
        sandbox.id = "sandbox"
        return sandbox


class ForgetsCancelled(GoodBackend):
    """Leaves behind what is started for somebody who does not wait any more."""

    def __init__(self, **options):
        super().__init__(**options)
        self.starts = []

    async def start(self, spec):
        self.starts.append(asyncio.ensure_future(self.inner.start(spec)))
        return self.sandbox(await asyncio.shield(self.starts[-1]))


class StartsAnything(GoodBackend):
    """Starts a sandbox without what it needs, and without the policies that it should have."""

    async def start(self, spec):
        everything = ("memory", "cpus", "processes", "scratch")
        return await super().start(
            replace(spec, language="python", executables=(), unenforced=everything, network=NetworkPolicy.NONE)
        )


class HidesUsage(GoodBackend):
    """Does not tell what it claims to tell."""

    class sandbox(GoodSandbox):  # noqa: N801
        async def usage(self):
            return None


class KeepsOpen(GoodBackend):
    """Leaves its connections open."""

    left: ClassVar[list[KeepsOpen]] = []

    async def aclose(self):
        self.left.append(self)


# Owners.


class ReapsAll(GoodBackend):
    """Removes what it finds, whoever owns it."""

    def __init__(self, **options):
        super().__init__(**options)
        self.alive = []

    async def start(self, spec):
        self.alive.append(await super().start(spec))
        return self.alive[-1]

    async def reap(self):
        for sandbox in self.alive:
            await sandbox.kill()
        return ["all"]


class Outlives(GoodBackend):
    """Has a process outside that does not end with the owner; it ends a while after the test has looked for it."""

    async def start(self, spec):
        mark = next((word for word in spec.command if word.startswith("xagent-mark")), "")
        if mark:
            self.outside = await asyncio.create_subprocess_exec(
                "sh", "-c", "sleep 15; exit", mark, start_new_session=True
            )
        return await super().start(spec)


# Limits.


class HoldsNothing(GoodBackend):
    """Gives sandboxes far more than they may have."""

    async def start(self, spec):
        more = {name: getattr(spec, name) * 16 for name in ("memory", "cpus", "processes", "scratch")}
        return await super().start(replace(spec, **more))


class SharesProcesses(GoodBackend):
    """Gives each sandbox less than it may have, as a limit does that all share."""

    async def start(self, spec):
        return await super().start(replace(spec, processes=spec.processes // 2))


class Boasts(StartsAnything):
    """Claims a network that it does not give."""

    async def capabilities(self):
        return replace(await super().capabilities(), networks=frozenset(NetworkPolicy))


class ClaimsNothing(StartsAnything):
    """Starts with limits that it says it cannot hold."""

    async def capabilities(self):
        return Capabilities(limits=frozenset())


class CompilesNothing(GoodBackend):
    """Mounts scratch with noexec for all."""

    async def start(self, spec):
        return await super().start(replace(spec, scratch_exec=False))


class LeaksEnvironment(GoodBackend):
    """Passes this process's environment on."""

    async def start(self, spec):
        import os

        return await super().start(replace(spec, env=(*spec.env, *os.environ.items())))
