"""What can be measured: one way to run one small program."""

from __future__ import annotations

import asyncio
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Bare", "Sample", "Subject", "completed", "timed"]


@dataclass(frozen=True, slots=True)
class Sample:
    """A program that prints one line, whose cost is that of its start.

    Attributes:
        language: What it is written in.
        code: Its source.
        output: The line.
    """

    language: str
    code: str
    output: str


class Subject(ABC):
    """One row of the table: a way to run one program, of which only the waiting of its caller counts.

    Attributes:
        language: What the program is written in.
        group: `bare`, or the engine under it: `docker`, `bubblewrap`.
        name: What a reader calls this way.
        every: It takes part in each round whose number divides by this: slow ones are measured less often.
        repeats: How often it is measured in such a round: what is cheap, as often as helps.
    """

    language: str = "python"
    group: str
    name: str
    every: int = 1
    repeats: int = 1

    @property
    def key(self) -> tuple[str, str, str]:
        """Names it."""
        return self.group, self.language, self.name

    async def open(self) -> None:  # noqa: B027 - most have nothing to do
        """Prepares what is not measured."""

    async def settle(self) -> None:  # noqa: B027
        """Waits until what the last measurement left behind is over."""

    @abstractmethod
    async def once(self) -> float:
        """Runs the program, checks that it printed its line, and tells the seconds until it was known."""

    async def close(self) -> None:  # noqa: B027
        """Leaves nothing behind."""


class Bare(Subject):
    """Programs that are run one after another, in no sandbox, in a folder with the source text.

    Args:
        sample: What they run: it must be trusted.
        source: The name of its file.
        commands: They stand in for what a sandbox does.
        every: See `Subject`.
    """

    group = "bare"
    name = "no sandbox"
    repeats = 3

    def __init__(self, sample: Sample, source: str, *commands: Sequence[str], every: int = 1) -> None:
        self.language = sample.language
        self.every = every
        self._sample = sample
        self._source = source
        self._commands = commands
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    async def open(self) -> None:
        """Makes the folder."""
        self._folder = tempfile.TemporaryDirectory(prefix="xagent-bench-")
        await asyncio.to_thread(self.prepare, Path(self._folder.name))

    def prepare(self, folder: Path) -> None:
        """Writes the source text, and what the commands need beside it."""
        (folder / self._source).write_text(self._sample.code, "utf-8")

    async def once(self) -> float:
        """Runs the commands."""
        assert self._folder is not None  # noqa: S101 - open() comes first
        return await completed(*self._commands, output=self._sample.output, cwd=self._folder.name)

    async def close(self) -> None:
        """Removes the folder."""
        if self._folder is not None:
            self._folder.cleanup()


async def completed(
    *commands: Sequence[str], output: str, env: dict[str, str] | None = None, cwd: str | None = None
) -> float:
    """Runs commands one after another and tells the seconds; the last must print the line.

    They run in a thread that waits as cheaply as a shell does: asyncio's own subprocesses add a millisecond.

    Raises:
        subprocess.CalledProcessError: One failed.
        RuntimeError: The last printed something else.
    """
    return await asyncio.to_thread(timed, *commands, output=output, env=env, cwd=cwd)


def timed(*commands: Sequence[str], output: str, env: dict[str, str] | None = None, cwd: str | None = None) -> float:
    """As `completed`, in the caller's own thread."""
    began = time.perf_counter()
    for command in commands:
        printed = subprocess.run(command, stdout=subprocess.PIPE, check=True, env=env, cwd=cwd).stdout
    seconds = time.perf_counter() - began
    if printed.strip() != output.encode():
        raise RuntimeError(f"{commands[-1][0]} printed {printed[:80]!r} instead of {output}")
    return seconds
