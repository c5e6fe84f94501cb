"""Writes the guest's messages: a job, the files to bring back, a sign of life."""

from __future__ import annotations

import posixpath
import secrets
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from xagent_core.abc.language import Program
from xagent_core.guest.patterns import find_pattern
from xagent_core.guest.script import STATE
from xagent_core.types import ExecutionRequest

__all__ = [
    "collect_message",
    "encode_line",
    "files_message",
    "job_message",
    "list_message",
    "new_boundary",
    "ping_message",
    "programs_message",
    "quote",
    "write_lines",
]

# Up to this size, escaped, the shell writes a file itself; above it, starting dd costs less than reading the text byte
# by byte, as shells must.
_INLINE: Final = 4 * 1024
_BLOCK: Final = 64 * 1024
_ESCAPED: Final = [
    chr(byte) if 32 <= byte < 127 and chr(byte) not in "\\'" else "\\n" if byte == 10 else f"\\0{byte:03o}"
    for byte in range(256)
]


def new_boundary() -> str:
    """The text before an end mark: random, so that a program cannot print it by chance or by guessing."""
    return f"\x1exagent-{secrets.token_hex(16)}"


def quote(text: str) -> str:
    """One shell word on one line; `$n` is the guest's newline."""
    return "'" + text.replace("'", "'\\''").replace("\n", "'\"$n\"'") + "'"


def encode_line(line: str) -> bytes:
    """A line as bytes; what was not UTF-8 where it came from (an argument, a file's name) is what it was there."""
    return line.encode("utf-8", "surrogateescape")


def _words(argv: Iterable[str]) -> str:
    return " ".join(map(quote, argv))


def _command(argv: Sequence[str], env: Mapping[str, str]) -> str:
    """A command by `env`, since names may be those of the guest's own variables, or read-only in its shell."""
    settings = " ".join(f"{name}={quote(value)}" for name, value in env.items())
    return f"env {settings} {_words(argv)}" if env else _words(argv)


def _inline(content: bytes) -> str:
    """`content` as an argument of `printf %b`, in single quotes; empty where dd is to write it."""
    escaped = "".join([_ESCAPED[byte] for byte in content]) if len(content) <= _INLINE else ""
    return f"'{escaped}'" if len(content) <= len(escaped) <= _INLINE else ""


def write_lines(target: str, content: bytes) -> bytes:
    """Lines that write a file, followed by its raw bytes where it is large.

    When the scratch space is full, what is left of the raw bytes is read all the same: the next line follows them.
    """
    return _write_lines(target, content, _inline(content))


def _write_lines(target: str, content: bytes, escaped: str) -> bytes:
    if escaped:
        return encode_line(f'b={escaped}; printf %b "$b" >{target} || full=1\n')
    if len(content) <= _BLOCK:
        # dd has read a block whole before it writes; where there is no file to write to, it has not been started.
        read = f"dd bs={len(content)} count=1 iflag=fullblock"
        return encode_line(f"{{ {read} || full=1; }} >{target} || {{ full=1; {read} of=/dev/null; }}\n") + content
    blocks, rest = divmod(len(content), _BLOCK)
    reads = f"dd bs={_BLOCK} count={blocks} iflag=fullblock; " if blocks else ""
    reads += f"dd bs={rest} count=1 iflag=fullblock; " if rest else ""
    sink = f"{{ cat >{target} || {{ cat >/dev/null; false; }}; }}"
    return encode_line(f"{{ {reads}}} | {sink} || full=1\n") + content


def job_message(program: Program, request: ExecutionRequest, *, boundary: str, more: bool = False) -> bytes:
    """A whole job: its files, its input, its build step and its run.

    Args:
        program: What to run; if it has a standby interpreter, the sandbox may have been started with it.
        request: Its input and files.
        boundary: From `new_boundary`.
        more: Whether another job may follow in the same sandbox.

    Returns:
        The bytes to send. The guest answers with a mark of phase `full` when the files do not fit the scratch space.
        Else it answers, on stdout only, with one of phase `start`; then with one of phase `build` where there is a
        build step, and one of phase `run` unless the build failed.
    """
    parts = [b"full=\n"]
    folders = {posixpath.dirname(path) for path in (program.source_name, *(file.path for file in request.files))} - {""}
    if folders:
        parts.append(encode_line(f"mkdir -p -- {_words(sorted(folders))}\n"))
    parts.extend(write_lines(quote(file.path), file.content) for file in request.files)
    if request.stdin:
        parts.append(write_lines(f"{STATE}/stdin", request.stdin))
    mark = quote(boundary)
    escaped = _inline(program.source)
    parts.append(_write_lines(quote(program.source_name), program.source, escaped))
    if program.standby:
        job = _hand_over(program, mark, in_variable=bool(escaped))
    else:
        job = _one_of_many(program, mark) if more else _only(program, mark)
    begin = f"echo {mark} start 0 - - - >&4"
    parts.append(encode_line(f"if [ $full ]; then finish {mark} full 1; else {begin}; {job}; fi\n"))
    return b"".join(parts)


def _one_of_many(program: Program, mark: str) -> str:
    """Runs a program below the reader, which goes on."""
    job = f"run {_command(program.run, program.env)}; finish {mark} run $?"
    if program.build:
        build = _command(program.build, program.env)
        job = f"run {build}; c=$?; finish {mark} build $c; [ $c = 0 ] && {{ {job}; }}"
    return f"{{ {job}; }} | serve <&3"


def _only(program: Program, mark: str) -> str:
    """Gives the shell that stands by what it becomes."""
    phase, job = "", f"become {_command(program.run, program.env)}"
    if program.build:
        phase = " build"  # it is what has ended, where the shell goes no further
        build = _command(program.build, program.env)
        done = f"finish {mark} build 0; echo {mark} >{STATE}/boundary"
        job = f"run {build}; c=$?; [ $c = 0 ] || exit $c; {done}; {job}"
    return f"echo {mark}{phase} >{STATE}/boundary; {_told(job)}; exec 6>&-"


def _told(job: str) -> str:
    return f"printf '%s\\n' {quote(job)} >&6"


def _hand_over(program: Program, mark: str, *, in_variable: bool) -> str:
    """Gives the standby interpreter its source through the pipe that it has open, and then the end of it.

    Where none was started, since the job was waiting already, the shell becomes it; its environment is the sandbox's.
    """
    # What is more than a pipe holds waits until it is read: the reader of messages must not wait with it.
    source = 'printf %b "$b" >&6' if in_variable else f"{{ cat {quote(program.source_name)} & }} >&6"
    job = f'if [ "$f" ]; then {source}; else {_told(f"become {_words(program.run)}")}; fi'
    return f"echo {mark} >{STATE}/boundary; {job}; exec 6>&-"


def ping_message(boundary: str) -> bytes:
    """Asks for a mark of phase `ready`, with nothing run."""
    return encode_line(f"finish {quote(boundary)} ready 0\n")


def programs_message(names: Sequence[str], *, boundary: str) -> bytes:
    """Asks for a mark of phase `ready` whose code is the place, from 1 on, of the first program that is not there."""
    missing = f'for p in {_words(names)}; do c=$((c+1)); command -v "$p" >/dev/null || break; p=; done'
    return encode_line(f'c=0; {missing}; [ "$p" ] || c=0; finish {quote(boundary)} ready $c\n')


def collect_message(patterns: Sequence[str], *, boundary: str, end_jobs: bool) -> bytes:
    """Asks for the matching regular files as tar archives between two marks of phase `files`.

    The code of the second is not 0 where a file could not be read.
    """
    mark = quote(boundary)
    tests = " -o ".join(f"-path {quote(find_pattern(pattern))}" for pattern in patterns)
    # A process that is being killed may still write, so they must all be gone before the first mark.
    first = "end_jobs && while kill -0 -1; do :; done; " if end_jobs else ""
    find = f"find . -type f \\( {tests} \\) -exec tar -cf - {{}} + </dev/null"
    return encode_line(f"{first}finish {mark} files 0; {find}; finish {mark} files $?\n")


def list_message(path: str, *, boundary: str) -> bytes:
    """Asks for the paths of a folder's regular files, each ended by a NUL, between two marks of phase `files`."""
    mark = quote(boundary)
    return encode_line(
        f"finish {mark} files 0; find {quote('./' + path)} -type f -print0 </dev/null; finish {mark} files $?\n"
    )


def files_message(path: str, content: bytes, *, boundary: str) -> bytes:
    """Writes a file into the workspace; a mark of phase `files` answers, with code 1 where it could not be written."""
    folder, _, _ = path.rpartition("/")
    make = f"mkdir -p -- {quote(folder)} || full=1\n" if folder else ""
    return b"".join(
        (
            encode_line(f"full=\n{make}"),
            write_lines(quote(path), content),
            encode_line(f"finish {quote(boundary)} files ${{full:-0}}\n"),
        )
    )
