"""The machine's own interpreters and compilers, without any sandbox: what every ratio is taken to."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from benchmarks.subjects import SAMPLES
from xagent_core.benchmark.subjects import Bare

__all__ = ["bare_subjects", "version_of"]


class _BareGo(Bare):
    """The compiler and the linker themselves, with the standard library compiled before, then the program."""

    def __init__(self, go: str) -> None:
        config = ("-importcfg", "importcfg")
        compiler, linker = ([go, "tool", name] for name in ("compile", "link"))
        super().__init__(
            SAMPLES["go"],
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
        subjects["python"] = Bare(SAMPLES["python"], "main.py", (python, "main.py"))
    if node:
        subjects["javascript"] = Bare(SAMPLES["javascript"], "main.js", (node, "main.js"))
    if bash:
        subjects["bash"] = Bare(SAMPLES["bash"], "main.sh", (bash, "main.sh"))
    if node and esbuild:
        options = ("--bundle", "--platform=node", "--outfile=main.cjs", "--log-level=error")
        compiled = ((esbuild, "main.ts", *options), (node, "main.cjs"))
        subjects["typescript"] = Bare(SAMPLES["typescript"], "main.ts", *compiled, every=2)
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
