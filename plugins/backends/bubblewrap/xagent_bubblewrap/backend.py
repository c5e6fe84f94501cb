"""The backend: finds out once what this machine offers, then starts sandboxes."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from xagent_bubblewrap import bwrap
from xagent_bubblewrap.caches import LanguageCaches
from xagent_bubblewrap.cgroups import MOUNTS, CgroupTree, SandboxCgroup, reap
from xagent_bubblewrap.launcher import Launcher
from xagent_bubblewrap.limits import capabilities_of, held, rlimits
from xagent_bubblewrap.opening import open_launcher
from xagent_bubblewrap.pipes import Pipes, until_readable
from xagent_bubblewrap.privileges import Privileges, find_privileges
from xagent_bubblewrap.rootfs import Entry, root_entries
from xagent_bubblewrap.sandbox import BubblewrapSandbox
from xagent_bubblewrap.seccomp import compile_filter
from xagent_bubblewrap.toolchains import Toolchains, find_toolchains
from xagent_core.abc.backend import Backend, Capabilities, Probe, Sandbox, SandboxSpec
from xagent_core.abc.language import Packages
from xagent_core.bridge import in_thread
from xagent_core.errors import BackendError, ConfigError, SandboxStartError
from xagent_core.types import MIB

__all__ = ["BubblewrapBackend"]

COMPONENT: Final = "bubblewrap"
# bwrap's monitor stays outside, but in the sandbox's control group.
_MONITOR: Final = 1
_START_SECONDS: Final = 20.0
_PROBE_SECONDS: Final = 10.0
# A block of file content is a page; small files and folders take room in inodes only.
_PAGE: Final = 4096
_SPARE_INODES: Final = 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class _Machine:
    """What was found out about this machine."""

    bwrap: bwrap.Bwrap
    privileges: Privileges
    launcher: Launcher
    tree: CgroupTree | None
    seccomp: bytes
    hidden: tuple[str, ...]
    capabilities: Capabilities


@dataclass(frozen=True, kw_only=True, slots=True)
class _Kind:
    """What sandboxes that need the same programs share."""

    root: str
    entries: tuple[Entry, ...]
    env: Mapping[str, str]


class BubblewrapBackend(Backend):
    """Sandboxes by bwrap: namespaces, a system call filter, and control groups where they may be made.

    Args:
        python: Which Python programs get: `system` prefers /usr/bin/python3 to the running interpreter, `current`
            the other way round.
        bwrap: The path of the bwrap to use, instead of PATH's and PyPI's.
        cgroups: Whether control groups are made; otherwise memory is limited for each process only, and CPUs are
            not.
        cache: The folder for what languages' setup scripts make, instead of the user's cache folder.
    """

    name = COMPONENT

    def __init__(
        self, *, python: str = "system", bwrap: str = "", cgroups: bool = True, cache: str | Path | None = None
    ) -> None:
        self._python = python
        self._bwrap = bwrap
        self._cgroups = cgroups
        self._opening: asyncio.Task[_Machine] | None = None
        self._probed: Probe | None = None
        self._kinds: dict[tuple[Any, ...], asyncio.Task[_Kind]] = {}
        self._caches = LanguageCaches(self._start_setup, Path(cache) if cache else None)
        self._numbers = itertools.count(1)
        self._sandboxes: set[BubblewrapSandbox] = set()

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Self:
        """The backend as `[backends.bubblewrap]` describes it.

        Raises:
            ConfigError: An option does not exist or has the wrong type.
        """
        kinds = {"python": str, "bwrap": str, "cgroups": bool, "cache": str}
        for name, value in options.items():
            where = f"backends.{COMPONENT}.{name}"
            if name not in kinds:
                raise ConfigError(where, "there is no such option", f"Known are {', '.join(kinds)}.")
            if not isinstance(value, kinds[name]):
                raise ConfigError(where, f"{value!r} is not a {kinds[name].__name__}")
        if options.get("python", "system") not in ("system", "current"):
            raise ConfigError(f"backends.{COMPONENT}.python", "it must be system or current")
        return cls(**options)

    async def probe(self) -> Probe:
        """Starts a sandbox that does nothing; a success is remembered."""
        if self._probed is None:
            try:
                async with asyncio.timeout(_PROBE_SECONDS):
                    sandbox = await self.start(_NOTHING)
                    await sandbox.kill()
                    machine = await self._opened()
            except TimeoutError:
                return Probe(available=False, detail=f"a sandbox took more than {_PROBE_SECONDS:g} s to start")
            except BackendError as error:
                return await in_thread(_unavailable, error)
            user = "an ordinary user" if machine.privileges.user_namespace else "root, as another user for each sandbox"
            self._probed = Probe(
                available=True, version=machine.bwrap.version, detail=f"bwrap {machine.bwrap.version}, run by {user}"
            )
        return self._probed

    async def capabilities(self) -> Capabilities:
        """What the control groups hold, and what is left to limits of each process."""
        return (await self._opened()).capabilities

    async def start(self, spec: SandboxSpec) -> Sandbox:
        """Starts a bwrap, and returns when its first process is about to run."""
        machine = await self._opened()
        return await self._launch(machine, spec, await self._kind(spec))

    async def reap(self) -> list[str]:
        """Removes the control groups of owners that are dead, and what runs in them."""
        return await in_thread(reap)

    async def aclose(self) -> None:
        """Ends the fork server, and every sandbox that is left."""
        await self._caches.aclose()
        for kind in self._kinds.values():
            kind.cancel()
        ended = await asyncio.gather(*(sandbox.kill() for sandbox in self._sandboxes), return_exceptions=True)
        await self._close()
        for error in ended:
            if isinstance(error, BaseException):
                raise error

    async def _start_setup(self, spec: SandboxSpec, toolchains: Toolchains, writable: Entry) -> Sandbox:
        """For a language's setup script."""
        entries = await in_thread(root_entries, (*toolchains.entries, writable))
        kind = _Kind(root=str(writable), entries=entries, env={"PATH": toolchains.path, **toolchains.env})
        return await self._launch(await self._opened(), spec, kind, writable=writable[1])

    async def _kind(self, spec: SandboxSpec) -> _Kind:
        """What sandboxes like this one share; found out once, and again after a failure."""
        key = (spec.language, spec.executables, spec.packages)
        if key not in self._kinds:
            self._kinds[key] = asyncio.create_task(self._make_kind(spec))
        try:
            return await asyncio.shield(self._kinds[key])
        except BackendError:
            self._kinds.pop(key, None)
            raise

    async def _make_kind(self, spec: SandboxSpec) -> _Kind:
        toolchains = await in_thread(find_toolchains, self.name, spec, python=self._python)
        cache = await self._caches.prepared(spec, toolchains)
        extra = (*toolchains.entries, *((cache,) if cache else ()))
        entries = await in_thread(root_entries, extra)
        return _Kind(root=str(extra), entries=entries, env={"PATH": toolchains.path, **toolchains.env})

    async def _launch(self, machine: _Machine, spec: SandboxSpec, kind: _Kind, *, writable: str = "") -> Sandbox:
        held(self.name, spec, machine.capabilities)
        name = f"{os.getpid()}-{next(self._numbers)}"
        cgroup = None
        if machine.tree is not None:
            cgroup = machine.tree.group(name, memory=spec.memory, cpus=spec.cpus, processes=spec.processes + _MONITOR)
        words = bwrap.arguments(
            spec, root=kind.root, env={**kind.env, **dict(spec.env)}, hidden=machine.hidden, writable=writable
        )
        request = {
            "argv": (machine.bwrap.program, *words),
            "cgroups": cgroup.request(MOUNTS) if cgroup else (),
            "exec": spec.scratch_exec,
            "rlimits": rlimits(spec, processes=spec.processes + _MONITOR, tree=machine.tree),
            "seccomp": machine.seccomp,
            "tmpfs": f"mode=0755,size={spec.scratch},nr_inodes={spec.scratch // _PAGE + _SPARE_INODES}",
            "uid": machine.privileges.uid,
            "uid_by_pid": machine.privileges.uid_by_pid,
        }
        roots: dict[str, tuple[Any, ...]] = {kind.root: kind.entries, bwrap.TOOLS: machine.bwrap.tools}
        start = asyncio.create_task(self._connected(machine.launcher, request, roots, name, cgroup))
        try:
            return await asyncio.shield(start)
        except asyncio.CancelledError:
            # What has been asked of the fork server cannot be taken back: what it made must be known to be removed.
            await _undo(start)
            raise

    async def _connected(
        self,
        launcher: Launcher,
        request: dict[str, Any],
        roots: dict[str, tuple[Any, ...]],
        name: str,
        cgroup: SandboxCgroup | None,
    ) -> Sandbox:
        pipes = Pipes()
        ours, theirs = socket.socketpair()
        with ours:
            try:
                # bwrap takes this byte when it has set everything up, just before it starts the first process.
                with theirs:
                    ours.send(b"1")
                    pid, handle = await launcher.launch(request, roots, [*pipes.theirs, theirs.fileno()])
            except BaseException:
                pipes.close()
                raise
            pipes.close_theirs()
            sandbox = BubblewrapSandbox(
                self.name,
                name,
                pid=pid,
                handle=handle,
                pipes=pipes,
                cgroup=cgroup,
                abandoned=lambda: launcher.ended,
                ended=self._sandboxes.discard,
            )
            self._sandboxes.add(sandbox)
            try:
                async with asyncio.timeout(_START_SECONDS):
                    await until_readable(ours.fileno())
                ours.recv(1)
            except (TimeoutError, ConnectionResetError) as error:
                raise await self._failure(sandbox) from error
            except BaseException:
                await sandbox.kill()
                raise
        return sandbox

    async def _failure(self, sandbox: BubblewrapSandbox) -> SandboxStartError:
        """The byte came back, since bwrap ended before: what it said is why."""
        await sandbox.kill()
        words = b""
        while (piece := await sandbox.receive()) is not None:
            words += piece[1]
        cause = words.decode(errors="replace").strip().replace("\n", "; ") or "bwrap did not start the first process"
        return SandboxStartError(self.name, cause, "`xagent doctor` tells what is missing.")

    async def _opened(self) -> _Machine:
        """What was found out; found out anew after a failure, and after the end of the fork server."""
        opening = self._opening
        if opening is not None and opening.done():
            if opening.cancelled() or opening.exception() is not None:
                self._opening = None
            elif not opening.result().launcher.alive:
                await self._close()
        if self._opening is None:
            self._opening = asyncio.create_task(self._open())
        # It goes on for the others, and for `aclose`, when this caller is cancelled.
        return await asyncio.shield(self._opening)

    async def _open(self) -> _Machine:
        program = await in_thread(bwrap.find_bwrap, self.name, self._bwrap)
        seccomp = await in_thread(compile_filter, self.name)
        privileges = await in_thread(find_privileges)
        hidden = await in_thread(bwrap.hidden_paths, keys=not privileges.uid_by_pid)
        launcher, tree = await open_launcher(self.name, privileges, cgroups=self._cgroups)
        return _Machine(
            bwrap=program,
            privileges=privileges,
            launcher=launcher,
            tree=tree,
            seccomp=seccomp,
            hidden=hidden,
            capabilities=capabilities_of(tree, privileges),
        )

    async def _close(self) -> None:
        opening, self._opening = self._opening, None
        if opening is None:
            return
        with contextlib.suppress(BackendError):
            machine = await opening
            await machine.launcher.aclose()
            if machine.tree is not None:
                await in_thread(machine.tree.remove)


async def _undo(start: asyncio.Task[Sandbox]) -> None:
    with contextlib.suppress(BackendError):
        sandbox = await asyncio.shield(start)
        await sandbox.kill()


def _unavailable(error: BackendError) -> Probe:
    """Says which setting is in the way, where one is known."""
    obstacle = bwrap.userns_obstacle()
    # What is not installed has its own advice.
    if obstacle is not None and (isinstance(error, SandboxStartError) or not error.fix):
        return Probe(available=False, detail=f"{obstacle[0]} ({error.cause})", fix=obstacle[1], refused=True)
    return Probe(available=False, detail=error.cause, fix=error.fix)


_NOTHING: Final = SandboxSpec(
    command=("sh",),
    language="",
    image="",
    executables=("sh",),
    packages=Packages(),
    env=(),
    memory=32 * MIB,
    cpus=1.0,
    processes=16,
    scratch=MIB,
    scratch_exec=False,
    unenforced=("memory", "cpus", "processes", "scratch"),
)
