"""What can be measured: one way to run one small program."""

from __future__ import annotations

import asyncio
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Final

__all__ = ["PROGRAMS", "Subject", "completed"]

PROGRAMS: Final = {
    "python": "print(1)\n",
    "javascript": "console.log(1)\n",
    "bash": "echo 1\n",
    "typescript": "const one: number = 1;\nconsole.log(one);\n",
    "go": 'package main\n\nimport "fmt"\n\nfunc main() { fmt.Println(1) }\n',
}
"""By language, the program that prints a line with a 1, whose cost is that of its start."""


class Subject(ABC):
    """One row of the table: a way to run one program, of which only the waiting of its caller counts.

    Attributes:
        language: What the program is written in.
        group: `bare`, or the engine under it: `docker`, `bubblewrap`.
        name: What a reader calls this way.
        every: It takes part in each round whose number divides by this: slow ones are measured less often.
    """

    language: str = "python"
    group: str
    name: str
    every: int = 1

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


async def completed(*commands: Sequence[str], env: dict[str, str] | None = None, cwd: str | None = None) -> float:
    """Runs commands one after another and tells the seconds; the last must print a 1.

    They run in a thread that waits as cheaply as a shell does: asyncio's own subprocesses add a millisecond.

    Raises:
        subprocess.CalledProcessError: One failed.
        RuntimeError: The last printed something else.
    """

    def run() -> float:
        began = time.perf_counter()
        for command in commands:
            output = subprocess.run(command, stdout=subprocess.PIPE, check=True, env=env, cwd=cwd).stdout
        seconds = time.perf_counter() - began
        if output.strip() != b"1":
            raise RuntimeError(f"{commands[-1][0]} printed {output[:80]!r} instead of 1")
        return seconds

    return await asyncio.to_thread(run)
