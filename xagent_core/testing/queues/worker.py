"""A worker on a backend that runs nothing: in a test's own process, or as `python -m` in one that can be killed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from types import SimpleNamespace
from typing import Any, Final

from xagent_core.abc.language import Language
from xagent_core.engine import Engine
from xagent_core.errors import SandboxLostError
from xagent_core.hookspecs import hookimpl
from xagent_core.plugins import load_plugins
from xagent_core.queueing.queue import get_queue
from xagent_core.queueing.worker import Worker, current_job
from xagent_core.testing.fakes import FakeBackend, FakeJob, FakeRun

__all__ = ["LANGUAGE", "fake_engine", "play", "program"]

LANGUAGE: Final = "played"
"""The language of `program`."""


def program(
    *,
    pieces: list[str] | None = None,
    pause: float = 0.0,
    exit_code: int | None = 0,
    fails: str = "",
    times: int = 1_000_000,
    kills: bool = False,
    files: dict[str, str] | None = None,
) -> str:
    """A program for `play`.

    Args:
        pieces: What it writes to stdout.
        pause: Seconds before each piece.
        exit_code: None when it never ends by itself.
        fails: The sandbox is lost, and its code has run `no` or `maybe`.
        times: In so many attempts, counted from the first.
        kills: In these attempts, the worker's process is killed.
        files: What is collected.
    """
    return json.dumps(
        {
            "pieces": pieces or [], "pause": pause, "exit_code": exit_code, "fails": fails, "times": times,
            "kills": kills, "files": files or {},
        }
    )  # fmt: skip


def play(job: FakeJob) -> FakeRun:
    """Does what a program of `program` says."""
    told: dict[str, Any] = json.loads(job.source)
    current = current_job.get()
    if current is not None and current.attempt <= told["times"]:
        if told["kills"]:
            os.kill(os.getpid(), signal.SIGKILL)
        if told["fails"] == "no":
            raise SandboxLostError("fake", "it was lost as the test asked for", code_ran="no")
        if told["fails"] == "maybe":
            return FakeRun(lost=True)
    return FakeRun(
        pieces=[("stdout", piece.encode()) for piece in told["pieces"]],
        pause=told["pause"],
        exit_code=told["exit_code"],
        files={path: content.encode() for path, content in told["files"].items()},
    )


def fake_engine() -> tuple[Engine, FakeBackend]:
    """An engine whose sandboxes play programs, and its backend."""
    plugins = load_plugins()
    language = Language(name=LANGUAGE, run=("played", "{source}"), executables=("played",), extensions=(".played",))
    module = SimpleNamespace(xagent_register_languages=hookimpl(lambda: [language]))
    plugins.add(LANGUAGE, "xagent-testing", "0", lambda: module)
    backend = FakeBackend(play)
    return Engine(backend, plugins=plugins), backend


async def _main(name: str, options: dict[str, Any], *, slots: int, queues: list[str]) -> None:
    engine, _ = fake_engine()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with engine, get_queue(name, **options) as queue, Worker(queue, engine, slots=slots, queues=queues):
        print("ready", flush=True)  # noqa: T201 - the test waits for it
        await stop.wait()


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    asyncio.run(_main(given["name"], given["options"], slots=given["slots"], queues=given["queues"]))
