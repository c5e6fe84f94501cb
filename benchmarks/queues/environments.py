"""An environment of its own for each queue, and a Redis of our own."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["SUBJECTS", "Queue", "environment", "redis_server"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Queue:
    """What is compared.

    Attributes:
        title: As the tables call it.
        module: Of `benchmarks.queues.subjects`.
        distributions: The packages that a user asks for, as PyPI calls them; the first is the queue itself.
        variant: Passed on to the module.
        slots: What two workers run at once.
        extras: Of the first package.
    """

    title: str
    module: str
    distributions: tuple[str, ...]
    variant: str = ""
    slots: str = "2 x 32"
    extras: str = ""

    @property
    def name(self) -> str:
        """Of its environment: variants of a queue share one."""
        return self.distributions[0]


_PREFORK: Final = f"2 x {os.cpu_count()}"

SUBJECTS: Final = (
    Queue(title="arq", module="with_arq", distributions=("arq",)),
    Queue(
        title="Celery, prefork, defaults",
        module="with_celery",
        distributions=("celery",),
        extras="[redis]",
        variant="prefork-early",
        slots=_PREFORK,
    ),
    Queue(
        title="Celery, prefork, acks_late",
        module="with_celery",
        distributions=("celery",),
        extras="[redis]",
        variant="prefork-late",
        slots=_PREFORK,
    ),
    Queue(
        title="Celery, threads, acks_late",
        module="with_celery",
        distributions=("celery",),
        extras="[redis]",
        variant="threads-late",
    ),
    Queue(title="taskiq, Redis streams", module="with_taskiq", distributions=("taskiq", "taskiq-redis")),
    Queue(title="docket", module="with_docket", distributions=("pydocket",)),
)


def environment(queue: Queue, home: Path) -> Path:
    """Makes the environment of a queue, unless it is there, and returns its Python."""
    folder = home / queue.name
    python = folder / "bin/python"
    if not (folder / "complete").exists():
        uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
        if uv is None:
            raise FileNotFoundError("uv makes the environments: install it")
        first, *others = queue.distributions
        subprocess.run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, folder], check=True)
        subprocess.run(
            [uv, "pip", "install", "--quiet", "--python", python, f"{first}{queue.extras}", *others], check=True
        )
        (folder / "complete").touch()
    return python


@contextlib.contextmanager
def redis_server(databases: int) -> Iterator[tuple[str, str]]:
    """A Redis that writes nothing to disk; gives its address, without a database, and its version."""
    program = shutil.which("redis-server")
    if program is None:
        raise FileNotFoundError("redis-server is missing: apt-get install redis-server")
    version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="bench-redis-") as folder:
        options = {"bind": "127.0.0.1", "port": port, "dir": folder, "save": "", "databases": databases}
        words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        server = subprocess.Popen([program, *words], stdout=subprocess.DEVNULL)
        try:
            _wait_for(port)
            yield f"redis://127.0.0.1:{port}", version.split("v=")[1].split()[0]
        finally:
            server.terminate()
            server.wait(20)


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return
