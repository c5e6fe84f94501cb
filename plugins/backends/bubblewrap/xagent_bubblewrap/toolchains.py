"""Finds the programs that a language needs: beside this plugin, on the system, or those of the running Python."""

from __future__ import annotations

import shutil
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import Final

from xagent_bubblewrap.rootfs import Entry
from xagent_core.abc.backend import SandboxSpec
from xagent_core.errors import SandboxStartError

__all__ = ["Toolchains", "find_toolchains"]

_SYSTEM_PATH: Final = ("/usr/local/bin", "/usr/bin", "/bin")
_HOME: Final = PurePosixPath("/opt/xagent-toolchains")
_PYTHON: Final = ("python", "python3")


@dataclass(kw_only=True, slots=True)
class Toolchains:
    """Where a sandbox finds its programs.

    Attributes:
        entries: What is added to its root for them.
        folders: What goes before the system's folders on PATH.
        env: Variables that they cannot do without.
        identity: What tells one release of them from another.
    """

    entries: dict[Entry, None] = field(default_factory=dict)
    folders: dict[str, None] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)
    identity: list[str] = field(default_factory=list)

    @property
    def path(self) -> str:
        """The value of PATH."""
        return ":".join((*self.folders, *_SYSTEM_PATH))

    def add(self, source: Path, name: str, program: str) -> None:
        """Shows a folder, or a single program, under a name that tells nothing of this machine."""
        inside = _HOME / name
        self.entries["bind", str(inside), str(source)] = None
        self.folders[str((inside / program).parent)] = None


def find_toolchains(component: str, spec: SandboxSpec, *, python: str) -> Toolchains:
    """Finds every program of `spec.executables`. It reads folders: call it in a thread.

    Args:
        component: The backend's name, for errors.
        spec: What a sandbox needs.
        python: `system` prefers the system's Python to the running one, `current` the other way round.

    Returns:
        Where they are.

    Raises:
        SandboxStartError: A program is neither beside the plugin nor on the system; it says what to install.
    """
    found = Toolchains()
    provided = set(_beside_the_plugin(spec, found))
    for name in spec.executables:
        if name in provided:
            continue
        path = shutil.which(name, path=":".join(_SYSTEM_PATH))
        if name in _PYTHON and (python == "current" or path is None):
            _running_python(found)
        elif path is None:
            raise SandboxStartError(component, f"no program {name!r} for {spec.language} was found", _advice(spec))
        else:
            status = Path(path).stat()
            found.identity.append(f"{Path(path).resolve()} {status.st_size} {status.st_mtime_ns}")
    return found


def _beside_the_plugin(spec: SandboxSpec, found: Toolchains) -> Iterator[str]:
    """The programs that installed distributions provide."""
    for name in spec.packages.pip:
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue
        found.identity.append(f"{name} {distribution.version}")
        site = Path(str(distribution.locate_file("")))
        for program, inside in spec.packages.programs:
            path = site / inside
            if not path.is_file():
                continue
            parts = PurePosixPath(inside).parts
            if ".." in parts or len(parts) == 1:
                found.add(path.resolve(), f"bin/{program}", "")
            else:
                # The whole package: programs look for their own files around them.
                found.add(site / parts[0], parts[0], str(PurePosixPath(*parts[1:])))
            yield program


def _running_python(found: Toolchains) -> None:
    prefix = Path(sys.base_prefix)
    found.add(prefix, "python", "bin/python3")
    found.identity.append(sys.version)
    if sysconfig.get_config_var("Py_ENABLE_SHARED"):
        # Its library lies in the prefix, and the program knows only the place where that was on this machine.
        found.env["LD_LIBRARY_PATH"] = str(_HOME / "python" / "lib")


def _advice(spec: SandboxSpec) -> str:
    ways = []
    if spec.packages.pip:
        ways.append(f"pip install {' '.join(spec.packages.pip)}")
    if spec.packages.apt:
        ways.append(f"apt install {' '.join(spec.packages.apt)}")
    return f"Install it: {' or '.join(ways)}." if ways else f"Install it on this machine, in {_SYSTEM_PATH[1]}."
