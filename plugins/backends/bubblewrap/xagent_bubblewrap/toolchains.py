"""Finds the programs that a language needs: beside this plugin, on the system, or those of the running Python."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import Final

from xagent_core.abc.backend import SandboxSpec
from xagent_core.errors import SandboxStartError

from xagent_bubblewrap.rootfs import Entry

__all__ = ["Toolchains", "find_toolchains"]

_SYSTEM_PATH: Final = ("/usr/local/bin", "/usr/bin", "/bin")
_HOME: Final = "/opt/xagent-toolchains"


@dataclass(frozen=True, kw_only=True, slots=True)
class Toolchains:
    """Where a sandbox finds its programs.

    Attributes:
        path: The value of PATH inside.
        entries: What is added to its root for it.
    """

    path: str
    entries: tuple[Entry, ...] = ()


def find_toolchains(component: str, spec: SandboxSpec, *, python: str) -> Toolchains:
    """Finds every program of `spec.executables`.

    Args:
        component: The backend's name, for errors.
        spec: What a sandbox needs.
        python: `system` prefers the system's Python to the running one, `current` the other way round.

    Raises:
        SandboxStartError: A program is neither beside the plugin nor on the system; it says what to install.
    """
    folders: list[str] = []
    entries: list[Entry] = []
    provided = _beside(spec, folders, entries)
    for name in spec.executables:
        if name in provided:
            continue
        on_system = shutil.which(name, path=":".join(_SYSTEM_PATH)) is not None
        if name in ("python", "python3") and (python == "current" or not on_system):
            entries.append(("bind", f"{_HOME}/python", sys.base_prefix))
            folders.append(f"{_HOME}/python/bin")
        elif not on_system:
            raise SandboxStartError(component, f"no program {name!r} for {spec.language} was found", _advice(spec))
    return Toolchains(path=":".join((*dict.fromkeys(folders), *_SYSTEM_PATH)), entries=tuple(dict.fromkeys(entries)))


def _beside(spec: SandboxSpec, folders: list[str], entries: list[Entry]) -> set[str]:
    """The programs that installed distributions provide; adds their folders to PATH and to the root."""
    provided = set()
    for name in spec.packages.pip:
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue
        for program, inside in spec.packages.programs:
            path = Path(str(distribution.locate_file(inside)))
            if not path.is_file():
                continue
            top = PurePosixPath(inside).parts[0]
            entries.append(("bind", f"{_HOME}/{top}", str(path.parents[len(PurePosixPath(inside).parts) - 2])))
            folders.append(str(PurePosixPath(_HOME, inside).parent))
            provided.add(program)
    return provided


def _advice(spec: SandboxSpec) -> str:
    ways = []
    if spec.packages.pip:
        ways.append(f"pip install {' '.join(spec.packages.pip)}")
    if spec.packages.apt:
        ways.append(f"apt install {' '.join(spec.packages.apt)}")
    return f"Install it: {' or '.join(ways)}." if ways else "Install it under /usr."
