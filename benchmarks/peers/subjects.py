"""Drives a peer's process: a line of JSON asks, a line of JSON answers with the seconds that the peer took."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.subjects import SAMPLES
from xagent_core.benchmark.measure import reason
from xagent_core.benchmark.subjects import Subject

__all__ = ["PEERS", "Peer", "PeerSubject", "installed"]

_ANSWER_SECONDS: Final = 60.0
_INSTALL_SECONDS: Final = 300.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Peer:
    """Another sandbox for generated code.

    Attributes:
        name: Its distribution.
        requirement: What pip installs.
        worker: The module beside this one that uses it as its documentation shows.
        modes: What that worker can measure, with the engine below, and how rarely.
    """

    name: str
    requirement: str
    worker: str
    modes: tuple[tuple[str, str, int], ...]


PEERS: Final = (
    Peer(
        name="llm-sandbox",
        requirement="llm-sandbox[docker]",
        worker="llm_sandbox_worker.py",
        modes=(
            ("cold", "docker", 5),
            ("session", "docker", 1),
            ("pooled", "docker", 1),
            ("bubblewrap", "bubblewrap", 1),
        ),
    ),
    Peer(
        name="autogen-ext",
        requirement="autogen-ext[docker]",
        worker="autogen_worker.py",
        modes=(("cold", "docker", 5), ("session", "docker", 1)),
    ),
)


class PeerSubject(Subject):
    """One way to use a peer.

    Args:
        peer: The peer.
        mode: `cold` opens one for each program, `session` reuses one, `pooled` takes one from the peer's own pool.
        group: The engine below.
        every: See `Subject`.
        python: The interpreter of the peer's environment, or why there is none.
        image: Given to it, since its own would have to be pulled.
    """

    def __init__(self, peer: Peer, mode: str, group: str, every: int, *, python: Path | Exception, image: str) -> None:
        self.group = group
        self.name = f"{peer.name}, one-shot" if mode == "bubblewrap" else f"{peer.name}, {mode}"
        self.every = every
        self.version = ""
        self.closing: list[float] = []
        self._peer, self._mode, self._python, self._image = peer, mode, python, image
        self._process: asyncio.subprocess.Process | None = None

    async def open(self) -> None:
        """Starts the peer's process, which opens what it reuses, and runs the program once."""
        if isinstance(self._python, Exception):
            raise self._python
        self._process = await asyncio.create_subprocess_exec(
            str(self._python),
            str(Path(__file__).with_name(self._peer.worker)),
            json.dumps({"mode": self._mode, "image": self._image, "code": SAMPLES["python"].code}),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            self.version = str((await self._answer())["version"])
            if self._mode != "cold":
                await self.once()
        except BaseException:
            await self.close()
            raise

    async def once(self) -> float:
        """Asks the peer to run the program."""
        assert self._process is not None  # noqa: S101 - open() comes first
        assert self._process.stdin is not None  # noqa: S101
        self._process.stdin.write(b"once\n")
        await self._process.stdin.drain()
        return float((await self._answer())["seconds"])

    async def close(self) -> None:
        """Ends the peer's process, which closes all it has; how long closing took is kept."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None  # noqa: S101
        assert process.stdout is not None  # noqa: S101
        process.stdin.close()
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                rest = await process.stdout.read()
                await process.wait()
        except TimeoutError:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
            return
        for line in rest.splitlines():
            self.closing += json.loads(line).get("closing", [])

    async def _answer(self) -> dict[str, Any]:
        assert self._process is not None  # noqa: S101
        assert self._process.stdout is not None  # noqa: S101
        async with asyncio.timeout(_ANSWER_SECONDS):
            line = await self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._peer.name} ended without an answer")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer


def installed(peer: Peer, home: Path) -> Path | Exception:
    """Makes a virtual environment with the peer, unless there is one. It blocks.

    Args:
        peer: The peer.
        home: The folder of such environments.

    Returns:
        The environment's interpreter, or why there is none.
    """
    python = home / peer.name / "bin" / "python"
    if python.exists():
        return python
    home.mkdir(parents=True, exist_ok=True)
    staged = Path(tempfile.mkdtemp(prefix=f".{peer.name}-", dir=home))
    uv = shutil.which("uv")
    steps: list[list[str]]
    if uv:
        steps = [
            [uv, "venv", "--quiet", "--allow-existing", "--relocatable", "--python", sys.executable, str(staged)],
            [uv, "pip", "install", "--quiet", "--python", str(staged), peer.requirement],
        ]
    else:
        steps = [
            [sys.executable, "-m", "venv", str(staged)],
            [str(staged / "bin" / "python"), "-m", "pip", "install", "--quiet", peer.requirement],
        ]
    try:
        for step in steps:
            subprocess.run(step, stdin=subprocess.DEVNULL, check=True, timeout=_INSTALL_SECONDS)
    except (OSError, subprocess.SubprocessError) as error:
        shutil.rmtree(staged)
        return RuntimeError(f"not installed: {reason(error)}")
    staged.rename(home / peer.name)
    return python
