"""Reads the guest's messages back, for fakes that answer them; the opposite of `xagent_core.guest.wire`."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from xagent_core.abc.backend import SandboxSpec
from xagent_core.guest.script import STATE

__all__ = ["FakeJob", "message_kind", "parse_job"]

_BOUNDARY: Final = re.compile(rb"\x1exagent-[0-9a-f]+")
_INLINE_FILE: Final = re.compile(r"b='([^']*)'; printf %b \"\$b\" >(.+) \|\| full=1")
_RAW_FILE: Final = re.compile(r"\{ (dd .*?); \} (?:\| \{ cat )?>(.+?) \|\| .*")
_LATER: Final = re.compile(r"printf '%s\\n' ('.*') >&6;")
_DD: Final = re.compile(r"dd bs=(\d+) count=(\d+)")
_ESCAPE: Final = re.compile(rb"\\(?:n|0([0-7]{3}))")


@dataclass(frozen=True, kw_only=True, slots=True)
class FakeJob:
    """What a sandbox was asked to run.

    Attributes:
        source: The program's source, as the language has prepared it.
        argv: The program's argv.
        build: The build step's argv; empty where there is none.
        env: The environment that program and guest are given, the guest's own variables included.
        stdin: What the program can read.
        files: The files put into the workspace, by path, without the source.
        spec: The sandbox's.
    """

    source: bytes
    argv: tuple[str, ...]
    build: tuple[str, ...]
    env: Mapping[str, str]
    stdin: bytes
    files: Mapping[str, bytes]
    spec: SandboxSpec


def message_kind(message: bytes) -> tuple[str, str]:
    """What a message asks for: `job`, `files` or `ready`, and the boundary of its answer.

    Raises:
        ValueError: It is no message of the guest's.
    """
    found = _BOUNDARY.search(message)
    if found is None:
        raise ValueError(f"not a message that this fake knows: {message[:200]!r}")
    last = message.rstrip(b"\n").rpartition(b"\n")[2]
    for kind in ("ready", "files"):
        if b"finish '%s' %s 0" % (found[0], kind.encode()) in last:
            return kind, found[0].decode()
    return "job", found[0].decode()


def parse_job(message: bytes, spec: SandboxSpec) -> FakeJob:
    """A job's message, read back."""
    written: dict[str, bytes] = {}
    rest, line = message, ""
    while rest:
        head, _, rest = rest.partition(b"\n")
        line = head.decode("utf-8", "surrogateescape")
        if inline := _INLINE_FILE.fullmatch(line):
            written[_word(inline[2])] = _ESCAPE.sub(
                lambda m: bytes([int(m[1], 8)]) if m[1] else b"\n", inline[1].encode()
            )
        elif raw := _RAW_FILE.fullmatch(line):
            size = sum(int(block) * int(count) for block, count in _DD.findall(raw[1]))
            written[_word(raw[2])], rest = rest[:size], rest[size:]
    commands = _commands(line)
    stdin = written.pop(f"{STATE}/stdin", b"")
    # The source is written last.
    source = written.pop(list(written)[-1])
    env, argv = _without_env(commands[-1])
    return FakeJob(
        source=source,
        argv=tuple(argv),
        build=tuple(_without_env(commands[0])[1]) if len(commands) > 1 else (),
        env={**dict(spec.env), **env},
        stdin=stdin,
        files=written,
        spec=spec,
    )


def _word(text: str) -> str:
    return shlex.split(_with_newlines(text))[0]


def _with_newlines(text: str) -> str:
    return text.replace("'\"$n\"'", "\n")


def _commands(line: str) -> list[list[str]]:
    """The argv of each command in a line of shell that runs a job, the program's last."""
    if later := _LATER.search(line):
        line = shlex.split(later[1])[0]
        if line.startswith("become "):
            return [shlex.split(_with_newlines(line))[1:]]
    lexer = shlex.shlex(_with_newlines(line), posix=True, punctuation_chars=";|&")
    lexer.whitespace_split = True
    lexer.commenters = ""
    words = list(lexer)
    commands = []
    for at, word in enumerate(words):
        if word in ("run", "become") and words[at - 1 : at] in ([], ["{"], [";"]):
            end = next((n for n in range(at, len(words)) if words[n] == ";"), len(words))
            commands.append(words[at + 1 : end])
    return commands


def _without_env(words: list[str]) -> tuple[dict[str, str], list[str]]:
    """Splits `env NAME=VALUE ... PROGRAM ...`."""
    if words[:1] != ["env"]:
        return {}, words
    at = next((n for n, word in enumerate(words) if n and "=" not in word), len(words))
    return dict(word.partition("=")[::2] for word in words[1:at]), words[at:]
