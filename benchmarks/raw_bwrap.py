"""bwrap without xagent: the same namespaces, with a sandbox's limits and its filter of system calls, or without."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from xagent_bubblewrap.cgroups import MOUNTS, find_tree, folder_name
from xagent_bubblewrap.seccomp import compile_filter

from benchmarks.subjects import SAMPLES, settings
from xagent_core.abc.backend import SandboxSpec
from xagent_core.benchmark.subjects import Subject, completed, timed
from xagent_core.errors import BackendUnavailableError
from xagent_core.owner import Owner

__all__ = ["LIMITED", "LimitedBwrap", "RawBwrap", "bwrap_loop"]

LIMITED: Final = "bwrap with limits"
"""The loop, and the row, that has a sandbox's settings."""

_NAMESPACES: Final = (
    *("--unshare-all", "--unshare-user", "--disable-userns", "--uid", "1000", "--gid", "1000"),
    *("--hostname", "sandbox", "--die-with-parent", "--as-pid-1", "--new-session", "--clearenv", "--cap-drop", "ALL"),
    *("--ro-bind", "/usr", "/usr", "--symlink", "usr/bin", "/bin", "--symlink", "usr/lib", "/lib"),
    *("--symlink", "usr/lib64", "/lib64", "--ro-bind", "/etc", "/etc", "--proc", "/proc", "--dev", "/dev"),
)
_SCRATCH: Final = (
    *("--tmpfs", "/tmp", "--chdir", "/tmp"),  # noqa: S108 - paths inside
    *("--setenv", "PATH", "/usr/local/bin:/usr/bin:/bin", "--setenv", "HOME", "/tmp"),  # noqa: S108
)
_PYTHON: Final = ("python3", "-c", SAMPLES["python"].code)


class RawBwrap(Subject):
    """A bwrap on the command line, with the same namespaces.

    Args:
        name: Of the row.
        command: What it runs.
    """

    group = "bubblewrap"

    def __init__(self, name: str, *command: str) -> None:
        self.name = name
        self._command = _bwrap(*command)

    async def once(self) -> float:
        """Runs it until it has ended."""
        return await completed(self._command, output="1")


class LimitedBwrap(Subject):
    """A bwrap with a sandbox's settings: what one costs at least. Nothing but `echo` is run in it."""

    group = "bubblewrap"
    name = f"bare {LIMITED}, nothing run"

    def __init__(self) -> None:
        self._limits: _Limits | None = None

    async def open(self) -> None:
        """Makes the folders of the control groups."""
        self._limits = await asyncio.to_thread(_Limits, await settings(self.group))

    async def once(self) -> float:
        """Makes the control groups and runs it until it has ended; they are removed outside of the time."""
        assert self._limits is not None  # noqa: S101 - open() comes first
        return await asyncio.to_thread(_timed, self._limits)

    async def close(self) -> None:
        """Removes the folders of the control groups."""
        if self._limits is not None:
            self._limits.close()


def _timed(limits: _Limits) -> float:
    with contextlib.ExitStack() as after:
        began = time.perf_counter()
        timed(after.enter_context(limits.held("echo", "1")), output="1")
        return time.perf_counter() - began


class _Limits:
    """A sandbox's control groups and filter, around a bwrap.

    Args:
        spec: The sandbox's settings.

    Raises:
        BackendUnavailableError: No control groups can be made here.
    """

    def __init__(self, spec: SandboxSpec) -> None:
        tree = find_tree(folder_name(Owner.current()), membership=Path("/proc/self/cgroup").read_text("utf-8"))
        if tree is None:
            raise BackendUnavailableError("benchmarks", "no control groups can be made here")
        self._spec = spec
        self._tree = tree
        self._numbers = itertools.count()
        self._folder = tempfile.TemporaryDirectory(prefix="xagent-bench-")
        self._filter = Path(self._folder.name, "filter.bpf")
        self._filter.write_bytes(compile_filter("benchmarks"))

    @contextlib.contextmanager
    def held(self, *command: str) -> Iterator[tuple[str, ...]]:
        """A command line under the limits; its control groups are removed in the end."""
        spec = self._spec
        group = self._tree.group(str(next(self._numbers)), memory=spec.memory, cpus=spec.cpus, processes=spec.processes)
        writes = [(MOUNTS / folder, settings) for folder, settings in group.request(MOUNTS)]
        for folder, _ in writes:
            folder.mkdir()
        # No process can be started in a control group: a shell enters it, and becomes bwrap.
        script = "".join(f"echo {value} >{folder / file};" for folder, files in writes for file, value in files)
        try:
            yield (
                *("sh", "-ec", f'{script} exec "$@" 9<{self._filter}', "sh"),
                *_bwrap(*command, limits=("--seccomp", "9", "--size", str(spec.scratch))),
            )
        finally:
            group.remove()

    def close(self) -> None:
        """Removes the folders."""
        self._folder.cleanup()
        self._tree.remove()


@contextlib.contextmanager
def bwrap_loop(spec: SandboxSpec | None) -> Iterator[Callable[[], float]]:
    """One turn of a plain loop, from any thread: runs the Python program, removes everything, tells the seconds.

    Args:
        spec: The settings of a sandbox that has limits; None for one that has none.
    """
    with contextlib.ExitStack() as ends:
        limits = ends.enter_context(contextlib.closing(_Limits(spec))) if spec else None

        def turn() -> float:
            began = time.perf_counter()
            with limits.held() if limits else contextlib.nullcontext(_bwrap()) as command:
                timed(command, output="1")
            return time.perf_counter() - began

        yield turn


def _bwrap(*command: str, limits: tuple[str, ...] = ()) -> tuple[str, ...]:
    return ("bwrap", *_NAMESPACES, *limits, *_SCRATCH, "--", *(command or _PYTHON))
