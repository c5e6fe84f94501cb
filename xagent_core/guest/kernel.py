"""Starts a session's kernel, and writes the messages that drive it."""

from __future__ import annotations

import importlib.resources
from typing import Final

from xagent_core.abc.language import Kernel
from xagent_core.guest.script import STATE, guest_command
from xagent_core.guest.wire import encode_line, quote, write_lines

__all__ = ["INTERRUPT", "cell_message", "kernel_command", "resume_message"]

_PIPE: Final = f"{STATE}/kernel"
_CELL: Final = f"{STATE}/cell"

INTERRUPT: Final = (
    # The kernel, and what it waits for: a shell obeys a signal when its foreground command has ended.
    f"read -r p <{STATE}/pid && {{ read -r c </proc/$p/task/$p/children; kill -INT $p $c; }}\n"
).encode()
"""Ends the cell that runs; the kernel keeps its state."""


def kernel_command(kernel: Kernel) -> tuple[str, ...]:
    """The first process of a session's sandbox.

    Args:
        kernel: Of the session's language.

    Returns:
        The guest's argv, with the kernel in the place of a standby interpreter.
    """
    package, _, name = kernel.script.partition(":")
    script = importlib.resources.files(package).joinpath(name).read_text("utf-8")
    argv = tuple(word.replace("{script}", script) for word in kernel.run)
    return guest_command(source_name=_PIPE, standby=(*argv, _PIPE), keep_pipe=True)


def cell_message(source: bytes, *, boundary: str, number: int) -> bytes:
    """Hands a cell to the kernel.

    Args:
        source: Its text.
        boundary: Begins the marks of the answer.
        number: Counts the session's cells from 1.

    Returns:
        The bytes to send. The kernel answers with a mark of phase `run`; the guest does when the kernel has ended.
    """
    mark = quote(boundary)
    start = f"echo {mark} >{STATE}/boundary; echo {mark} {number} {_CELL} >{_PIPE}"
    return b"".join(
        (
            b"full=\n",
            write_lines(_CELL, source),
            encode_line(f"if [ $full ]; then finish {mark} full 1; else {start}; fi\n"),
        )
    )


def resume_message() -> bytes:
    """Ends the reader that a job has started beside itself, so that the one before goes on."""
    return b"exit\n"
