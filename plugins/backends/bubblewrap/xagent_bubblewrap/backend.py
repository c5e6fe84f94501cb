"""The backend: puts the parts together."""

from __future__ import annotations

import asyncio
import itertools
import os
import resource
import shutil
import socket
from typing import Any, Final

from xagent_core.abc.backend import Backend, Capabilities, Probe, Sandbox, SandboxSpec
from xagent_core.errors import BackendUnavailableError, SandboxStartError
from xagent_core.types import MIB

from xagent_bubblewrap.cgroups import SandboxCgroup, find_tree
from xagent_bubblewrap.forkserver import READY_FD, SCRATCH, SECCOMP_FD
from xagent_bubblewrap.launcher import Launcher
from xagent_bubblewrap.rootfs import root_entries
from xagent_bubblewrap.sandbox import BubblewrapSandbox, Pipes, until_readable
from xagent_bubblewrap.seccomp import compile_filter
from xagent_bubblewrap.toolchains import find_toolchains

__all__ = ["BubblewrapBackend"]

# bwrap's monitor is outside the sandbox and in its cgroup.
_MONITOR: Final = 1


class BubblewrapBackend(Backend):
    """Sandboxes by bwrap.

    Args:
        python: `system` prefers /usr/bin/python3 to the running interpreter, `current` the other way round.
    """

    name = "bubblewrap"

    def __init__(self, *, python: str = "system") -> None:
        self._python = python
        self._launcher: Launcher | None = None
        self._opening = asyncio.Lock()
        self._numbers = itertools.count(1)
        self._sandboxes: set[BubblewrapSandbox] = set()
        self._tree = find_tree()

    async def probe(self) -> Probe:
        """Whether it works."""
        return Probe(available=True)

    async def capabilities(self) -> Capabilities:
        """What it holds."""
        return Capabilities(limits=frozenset({"memory", "cpus", "processes", "scratch"}), reports_usage=True)

    async def start(self, spec: SandboxSpec) -> Sandbox:
        """Starts a sandbox."""
        launcher = await self._opened()
        name = f"xagent-{os.getpid()}-{next(self._numbers)}"
        toolchains = find_toolchains(self.name, spec, python=self._python)
        cgroup = (
            self._tree.group(name, memory=spec.memory, cpus=spec.cpus, processes=spec.processes + _MONITOR)
            if self._tree
            else None
        )
        request = {
            "root": root_entries(toolchains.entries),
            "tmpfs": f"mode=0755,size={spec.scratch},nr_inodes={spec.scratch // 4096 + 1024}",
            "exec": spec.scratch_exec,
            "cgroups": cgroup.request() if cgroup else (),
            "uid": 0x70000000,
            "uid_by_pid": True,
            "rlimits": (
                (resource.RLIMIT_CORE, 0),
                (resource.RLIMIT_NOFILE, spec.open_files),
                (resource.RLIMIT_FSIZE, spec.scratch),
                (resource.RLIMIT_NPROC, spec.processes + _MONITOR),
            ),
            "seccomp": compile_filter(self.name),
            "argv": (shutil.which("bwrap"), _bwrap_arguments(spec, toolchains.path)),
        }
        pipes = Pipes()
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                theirs.setblocking(True)
                ours.send(b"x")
                pid, handle = await launcher.launch(request, [*pipes.theirs, theirs.fileno()])
            pipes.close_theirs()
            sandbox = BubblewrapSandbox(
                self.name, name, pid=pid, handle=handle, pipes=pipes, cgroup=cgroup, forget=self._sandboxes.discard
            )
            self._sandboxes.add(sandbox)
            await self._ready(ours, pipes)
        except BaseException:
            pipes.close()
            raise
        finally:
            ours.close()
        return sandbox

    async def _ready(self, ours: socket.socket, pipes: Pipes) -> None:
        await until_readable(ours.fileno())
        try:
            ours.recv(1)
        except ConnectionResetError:
            words = []
            while (piece := await pipes.read()) is not None:
                words.append(piece[1])
            raise SandboxStartError(self.name, b"".join(words).decode(errors="replace").strip()) from None

    async def _opened(self) -> Launcher:
        async with self._opening:
            if self._launcher is None or not self._launcher.alive:
                self._launcher = Launcher(self.name, user=os.geteuid() != 0)
                await self._launcher.open()
            return self._launcher

    async def reap(self) -> list[str]:
        """Nothing yet."""
        return []

    async def aclose(self) -> None:
        """Ends the fork server."""
        if self._launcher is not None:
            self._launcher.close()
            await self._launcher.wait_closed()


def _bwrap_arguments(spec: SandboxSpec, path: str) -> list[str | None]:
    arguments: list[str | None] = [
        *("--unshare-all", "--unshare-user", "--disable-userns", "--uid", "1000", "--gid", "1000"),
        *("--hostname", "sandbox", "--die-with-parent", "--as-pid-1", "--new-session", "--clearenv"),
        *("--ro-bind", None, "/", "--proc", "/proc", "--dev", "/dev", "--bind", f"{SCRATCH}/shm", "/dev/shm"),
        *("--remount-ro", "/dev", "--bind", f"{SCRATCH}/tmp", "/tmp", "--chdir", "/tmp"),
        *("--block-fd", str(READY_FD), "--seccomp", str(SECCOMP_FD)),
        *("--setenv", "PATH", path),
    ]
    for name, value in spec.env:
        arguments += ["--setenv", name, value]
    return [*arguments, "--", *spec.command]
