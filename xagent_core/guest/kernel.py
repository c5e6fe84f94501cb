"""Starts a session's kernel, and writes the messages that drive it."""

from __future__ import annotations

import importlib.resources
from typing import Final

from xagent_core.abc.language import Kernel
from xagent_core.guest.script import STATE, guest_command
from xagent_core.guest.wire import encode_line, quote, write_lines

__all__ = ["cell_message", "interrupt_message", "kernel_command", "resume_message"]

_PIPE: Final = f"{STATE}/kernel"
_CELL: Final = f"{STATE}/cell"


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


def interrupt_message(number: int) -> bytes:
    """Ends a cell; the kernel keeps its state.

    Args:
        number: The cell's. It is written down first: a kernel that has not begun the cell finds it there, and one that
            has ended it, or is asked for the next already, has nothing to end.

    Returns:
        The bytes to send.
    """
    # All below the kernel gets the signal, as from a terminal: a shell obeys it only where its foreground command has
    # died of it. Each is stopped until all are found, or else it would start another meanwhile.
    find = (
        'while [ $# != 0 ]; do kill -STOP $1; all="$all $1"; '
        'for t in /proc/$1/task/*/children; do c=; read -r c <$t; set -- "$@" $c; done; shift; done'
    )
    signal = f"set -- $p; all=; {find}; kill -INT $all; kill -CONT $all"
    return encode_line(f"echo {number} >{STATE}/interrupt; read -r p <{STATE}/pid && {{ {signal}; }}\n")


def resume_message() -> bytes:
    """Ends the reader that a job has started beside itself, so that the one before goes on."""
    return b"exit\n"
