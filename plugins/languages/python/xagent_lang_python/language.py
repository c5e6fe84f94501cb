"""The language: an interpreter that stands by, except for sources that it cannot read from a pipe."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final

from xagent_core.abc.language import Kernel, Language, Packages, Program
from xagent_core.types import ExecutionRequest

__all__ = ["PYTHON", "PythonLanguage"]

# PEP 263, "Defining the Encoding": a comment like this, in the first or the second line.
_CODING: Final = re.compile(rb"[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)")


class PythonLanguage(Language):
    """Python, whose interpreter seeks in a source that says it is not UTF-8: such a one must be a file."""

    def prepare(self, request: ExecutionRequest) -> Program:
        """Turns a request into a program.

        Raises:
            InvalidRequestError: The source text cannot be written to a file.
        """
        program = super().prepare(request)
        return program if _is_utf8(program.source) else replace(program, standby=())


def _is_utf8(source: bytes) -> bool:
    """Whether no line that may say so names another encoding."""
    matches = [match for line in source.split(b"\n", 2)[:2] if (match := _CODING.match(line))]
    return all(match[1].lower().replace(b"_", b"-") in (b"utf-8", b"utf8") for match in matches)


PYTHON: Final = PythonLanguage(
    name="python",
    summary="Python 3",
    aliases=("py", "python3"),
    extensions=(".py",),
    image="python:3.13-slim",
    executables=("python3",),
    run=("python3", "{source}"),
    hello="print('hello')",
    samples="xagent_lang_python:samples.toml",
    standby=True,
    # What a program printed before it was stopped must have left it; what it imports is compiled for this one run.
    env={"PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"},
    session=Kernel(run=("python3", "-c", "{script}"), script="xagent_lang_python:kernel.py"),
    packages=Packages(apt=("python3",)),
)
