"""The machine's own interpreters and compilers, without any sandbox: what every ratio is taken to."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.subjects import PROGRAMS, Subject, completed

__all__ = ["Bare", "bare_subjects", "version_of"]


class Bare(Subject):
    """Programs that are run one after another in a folder with the source text.

    Args:
        language: What the program is written in.
        source: The name of its file.
        commands: They stand in for what a sandbox does.
        every: See `Subject`.
    """

    group = "bare"
    name = "no sandbox"

    def __init__(self, language: str, source: str, *commands: Sequence[str], every: int = 1) -> None:
        self.language = language
        self.every = every
        self._source = source
        self._commands = commands
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    async def open(self) -> None:
        """Makes the folder."""
        self._folder = tempfile.TemporaryDirectory(prefix="xagent-bench-")
        await asyncio.to_thread(self.prepare, Path(self._folder.name))

    def prepare(self, folder: Path) -> None:
        """Writes the source text, and what the commands need beside it."""
        (folder / self._source).write_text(PROGRAMS[self.language], "utf-8")

    async def once(self) -> float:
        """Runs the commands."""
        assert self._folder is not None  # noqa: S101 - open() comes first
        return await completed(*self._commands, cwd=self._folder.name)

    async def close(self) -> None:
        """Removes the folder."""
        if self._folder is not None:
            self._folder.cleanup()


class _BareGo(Bare):
    """The compiler and the linker themselves, with the standard library compiled before, then the program."""

    def __init__(self, go: str) -> None:
        config = ("-importcfg", "importcfg")
        compiler, linker = ([go, "tool", name] for name in ("compile", "link"))
        super().__init__(
            "go",
            "main.go",
            (*compiler, "-o", "main.a", "-p", "main", "-complete", *config, "main.go"),
            (*linker, "-o", "main", "-s", "-w", *config, "main.a"),
            ("./main",),
            every=3,
        )
        self._go = go

    def prepare(self, folder: Path) -> None:
        """Tells the linker where Go has the archives of what `fmt` needs."""
        super().prepare(folder)
        line = "{{if .Export}}packagefile {{.ImportPath}}={{.Export}}{{end}}"
        listed = subprocess.run(
            [self._go, "list", "-export", "-deps", "-f", line, "fmt", "runtime"],
            stdout=subprocess.PIPE,
            check=True,
            env={**os.environ, "CGO_ENABLED": "0"},
        )
        (folder / "importcfg").write_bytes(listed.stdout)


def bare_subjects(languages: Sequence[str]) -> dict[str, Bare]:
    """What is installed of these languages, by language."""
    python, node, bash, esbuild = (_system(name) for name in ("python3", "node", "bash", "esbuild"))
    go = shutil.which("go")
    subjects = {}
    if python:
        subjects["python"] = Bare("python", "main.py", (python, "main.py"))
    if node:
        subjects["javascript"] = Bare("javascript", "main.js", (node, "main.js"))
    if bash:
        subjects["bash"] = Bare("bash", "main.sh", (bash, "main.sh"))
    if node and esbuild:
        options = ("--bundle", "--platform=node", "--outfile=main.cjs", "--log-level=error")
        compiled = ((esbuild, "main.ts", *options), (node, "main.cjs"))
        subjects["typescript"] = Bare("typescript", "main.ts", *compiled, every=2)
    if go:
        subjects["go"] = _BareGo(go)
    return {language: subject for language, subject in subjects.items() if language in languages}


def version_of(*command: str) -> str:
    """The first line that a program says of its version; nothing where it is missing."""
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ""
    return said.strip().splitlines()[0] if said.strip() else ""


def _system(program: str) -> str | None:
    """The program of the system rather than one of a virtual environment: sandboxes have that one too."""
    return shutil.which(program, path="/usr/local/bin:/usr/bin:/bin") or shutil.which(program)
