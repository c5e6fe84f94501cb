"""The command line as users start it, with fake plugins installed and all others switched off."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest

FAKE_PLUGIN = '''
"""A backend `fake`, whose programs are JSON that say what to do, and the language `plain` to write them in."""

import json
import os

from xagent_core import BackendRegistration, Capabilities, Language, Needs, Probe, hookimpl
from xagent_core.testing.fakes import ALL_HELD, FakeBackend, FakeRun


def script(job):
    code = json.loads(job.source)
    if code.pop("echo", False):
        seen = {
            "argv": job.argv,
            "env": dict(job.env),
            "stdin": job.stdin.decode("latin-1"),
            "files": {path: content.decode("latin-1") for path, content in job.files.items()},
            "memory": job.spec.memory,
            "cpus": job.spec.cpus,
        }
        code["stdout"] = json.dumps(seen)
    code["pieces"] = [(stream, data.encode("latin-1")) for stream, data in code.get("pieces", ())]
    code["files"] = {path: content.encode("latin-1") for path, content in code.get("files", {}).items()}
    for stream in ("stdout", "stderr"):
        code[stream] = code.get(stream, "").encode("latin-1")
    return FakeRun(**code)


class Fake(FakeBackend):
    async def aclose(self):
        """Leaves a note of what was left alive."""
        await super().aclose()
        if path := os.environ.get("FAKE_NOTE"):
            with open(path, "a") as note:
                note.write(f"closed, alive: {len(self.alive)}\\n")


def fake(options):
    limits = frozenset(os.environ.get("FAKE_LIMITS", "memory cpus processes scratch").split())
    return Fake(
        script,
        capabilities=Capabilities(limits=limits, networks=ALL_HELD.networks, how={"memory": "cgroup v9"}),
        leftovers=["old-sandbox (owner is dead)"],
    )


def asleep(options):
    return FakeBackend(name="asleep", probe=Probe(available=False, detail="the daemon sleeps", fix="Wake it."))


@hookimpl
def xagent_register_backends():
    return [
        BackendRegistration(name="asleep", summary="", factory=asleep, preference=1),
        BackendRegistration(name="fake", summary="runs nothing", factory=fake, preference=2),
    ]


@hookimpl
def xagent_register_languages():
    hello = json.dumps({"stdout": "hello\\n"})
    return [
        Language(
            name="plain", aliases=("pl", "pln"), extensions=(".plain", ".pln"), summary="JSON",
            run=("plain", "{source}"), executables=("plain",), hello=hello,
        ),
        Language(
            name="built", extensions=(".built",), build=("cc", "{source}"), run=("./a.out",), executables=("cc",),
            needs=Needs(memory=256 * 2**20), hello=hello,
        ),
    ]
'''


class Xagent:
    """Starts `xagent` in a process of its own.

    Args:
        site: A folder on its module path, where distributions are installed.
        home: Its home folder and working directory.
    """

    def __init__(self, site: Path, home: Path) -> None:
        self.site = site
        self.home = home
        installed = {point.dist.name for point in metadata.entry_points(group="xagent") if point.dist}
        self.env = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(site),
            "HOME": str(home),
            "XAGENT_DISABLED_PLUGINS": ",".join(sorted(installed)),
            "XAGENT_BACKEND": "fake",
            "FAKE_NOTE": str(home / "note"),
        }
        self.argv = [sys.executable, "-m", "xagent_core.cli"]

    def install(self, distribution: str, module: str, source: str) -> None:
        """Installs a distribution with one plugin module."""
        info = self.site / f"{module}-2.5.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 2.5\n")
        (info / "entry_points.txt").write_text(f"[xagent]\n{module} = {module}\n")
        (self.site / f"{module}.py").write_text(source)

    def __call__(self, *args: str, stdin: bytes = b"", **env: str) -> subprocess.CompletedProcess[bytes]:
        """Runs a command to its end."""
        return subprocess.run(
            [*self.argv, *args],
            input=stdin,
            capture_output=True,
            env=self.env | env,
            cwd=self.home,
            timeout=240,
            check=False,
        )

    def start(self, *args: str, **options: object) -> subprocess.Popen[bytes]:
        """Starts a command that the test will follow; the caller waits for it."""
        defaults = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen([*self.argv, *args], env=self.env, cwd=self.home, **(defaults | options))

    @property
    def note(self) -> str:
        """What the fake backend has said when it was closed."""
        path = self.home / "note"
        return path.read_text() if path.exists() else ""


@pytest.fixture
def xagent(tmp_path: Path) -> Xagent:
    site, home = tmp_path / "site", tmp_path / "home"
    site.mkdir()
    home.mkdir()
    command = Xagent(site, home)
    command.install("xagent-fake", "fake_plugin", FAKE_PLUGIN)
    return command


@pytest.fixture
def program(xagent: Xagent) -> Callable[..., str]:
    """Writes a program for the fake backend and gives its path."""
    import json

    def write(name: str = "main.plain", **what: object) -> str:
        (xagent.home / name).write_text(json.dumps(what))
        return name

    return write
