"""bwrap without xagent: the same namespaces, no limits, no filter of system calls."""

from __future__ import annotations

from typing import Final

from benchmarks.subjects import SAMPLES
from xagent_core.benchmark.subjects import Subject, completed

__all__ = ["RawBwrap", "bwrap_command"]

_NAMESPACES: Final = (
    *("--unshare-all", "--unshare-user", "--disable-userns", "--uid", "1000", "--gid", "1000"),
    *("--hostname", "sandbox", "--die-with-parent", "--as-pid-1", "--new-session", "--clearenv", "--cap-drop", "ALL"),
    *("--ro-bind", "/usr", "/usr", "--symlink", "usr/bin", "/bin", "--symlink", "usr/lib", "/lib"),
    *("--symlink", "usr/lib64", "/lib64", "--ro-bind", "/etc", "/etc"),
    *("--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--chdir", "/tmp"),  # noqa: S108 - paths inside
    *("--setenv", "PATH", "/usr/local/bin:/usr/bin:/bin", "--setenv", "HOME", "/tmp"),  # noqa: S108
)


class RawBwrap(Subject):
    """A bwrap on the command line, with the same namespaces.

    Args:
        name: Of the row.
        command: What it runs.
    """

    group = "bubblewrap"

    def __init__(self, name: str, *command: str) -> None:
        self.name = name
        self._command = bwrap_command(*command)

    async def once(self) -> float:
        """Runs it until it has ended."""
        return await completed(self._command, output="1")


def bwrap_command(*command: str) -> tuple[str, ...]:
    """A command line that runs this, the Python program by default."""
    return ("bwrap", *_NAMESPACES, "--", *(command or ("python3", "-c", SAMPLES["python"].code)))
