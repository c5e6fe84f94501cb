"""Programs of which a test says what they do, and an engine that plays them without a sandbox."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

from xagent_core.abc.language import Language
from xagent_core.abc.tool import ToolContext, ToolRegistration
from xagent_core.engine import Engine
from xagent_core.errors import SandboxLostError
from xagent_core.hookspecs import hookimpl
from xagent_core.plugins import load_plugins
from xagent_core.queueing.observing import current_job
from xagent_core.testing.fakes import FakeBackend, FakeJob, FakeRun

if TYPE_CHECKING:
    from langchain_core.tools import BaseTool

__all__ = ["LANGUAGE", "fake_engine", "play", "program"]

LANGUAGE: Final = "played"
"""The language of `program`."""


def program(
    *,
    pieces: list[str] | None = None,
    pause: float = 0.0,
    until: Path | None = None,
    exit_code: int | None = 0,
    hangs: bool = False,
    fails: str = "",
    times: int = 1_000_000,
    kills: bool = False,
    files: dict[str, str] | None = None,
) -> str:
    """A program for `play`.

    Args:
        pieces: What it writes to stdout.
        pause: Seconds before each piece.
        until: A file; it waits for that one to be there before it ends.
        exit_code: None when it never ends by itself.
        hangs: It never ends by itself.
        fails: The sandbox is lost, and its code has run `no` or `maybe`.
        times: Hangs or fails in so many attempts, counted from the first.
        kills: In these attempts, the worker's process is killed.
        files: What is collected.
    """
    return json.dumps(
        {
            "pieces": pieces or [], "pause": pause, "until": str(until or "/"), "exit_code": exit_code, "hangs": hangs,
            "fails": fails, "times": times, "kills": kills, "files": files or {},
        }
    )  # fmt: skip


def play(job: FakeJob) -> FakeRun:
    """Does what a program of `program` says."""
    told: dict[str, Any] = json.loads(job.source)
    current, exit_code = current_job.get(), told["exit_code"]
    if current is not None and current.attempt <= told["times"]:
        if told["kills"]:
            os.kill(os.getpid(), signal.SIGKILL)
        if told["fails"] == "no":
            raise SandboxLostError("fake", "it was lost as the test asked for", code_ran="no")
        if told["fails"] == "maybe":
            return FakeRun(lost=True)
        if told["hangs"]:
            exit_code = None
    return FakeRun(
        pieces=[("stdout", piece.encode()) for piece in told["pieces"]],
        pause=told["pause"],
        until=Path(told["until"]).exists,
        exit_code=exit_code,
        files={path: content.encode() for path, content in told["files"].items()},
    )


def fake_engine() -> tuple[Engine, FakeBackend]:
    """An engine whose sandboxes play programs, with tools of the suite's own, and its backend."""
    plugins = load_plugins()
    language = Language(name=LANGUAGE, run=("played", "{source}"), executables=("played",), extensions=(".played",))
    tools = [
        ToolRegistration(name="play", summary="", factory=_play_tool),
        ToolRegistration(name="keep", summary="", factory=_keep_tool, needs_workspace=True),
    ]
    module = SimpleNamespace(
        xagent_register_languages=hookimpl(lambda: [language]), xagent_register_tools=hookimpl(lambda: tools)
    )
    plugins.add(LANGUAGE, "xagent-testing", "0", lambda: module)
    backend = FakeBackend(play)
    return Engine(backend, plugins=plugins), backend


def _play_tool(context: ToolContext) -> BaseTool:
    from xagent_core.testing.queues.tools import Play

    return Play(engine=context.engine)


def _keep_tool(context: ToolContext) -> BaseTool:
    from xagent_core.testing.queues.tools import Keep

    return Keep(workspace=context.workspace)
