"""Writes the guest's messages: a job, the files to bring back, a sign of life."""

from __future__ import annotations

import posixpath
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from xagent_core.abc.language import Program
from xagent_core.guest.script import STATE
from xagent_core.types import ExecutionRequest

__all__ = ["collect_message", "collect_pattern", "job_message", "new_boundary", "ping_message"]

# Up to this size the shell writes a file itself; above it, starting dd costs less than reading the escaped
# text byte by byte, as shells must.
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


def _words(argv: Iterable[str]) -> str:
    return " ".join(map(quote, argv))


def _escaped(content: bytes) -> str:
    """`content` as an argument of `printf %b`, in single quotes."""
    return "'" + "".join([_ESCAPED[byte] for byte in content]) + "'"


def _write(target: str, content: bytes) -> bytes:
    """Lines that write a file, followed by its raw bytes where it is large.

    When the scratch space is full, what is left of the raw bytes is read all the same: the next line follows them.
    """
    if len(content) <= _INLINE:
        return f"printf %b {_escaped(content)} >{target} || full=1\n".encode()
    blocks, rest = divmod(len(content), _BLOCK)
    reads = f"dd bs={_BLOCK} count={blocks} iflag=fullblock; " if blocks else ""
    reads += f"dd bs={rest} count=1 iflag=fullblock; " if rest else ""
    sink = f"{{ cat >{target} || {{ cat >/dev/null; false; }}; }}"
    return f"{{ {reads}}} 2>/dev/null | {sink} 2>/dev/null || full=1\n".encode() + content


def job_message(program: Program, request: ExecutionRequest, *, boundary: str) -> bytes:
    """A whole job: its files, its input, its build step and its run.

    Args:
        program: What to run; the sandbox was started with its standby interpreter, if it has one.
        request: Its input and files.
        boundary: From `new_boundary`.

    Returns:
        The bytes to send. The guest answers with a mark of phase `build` where there is a build step, and one of
        phase `run` unless the build failed; with one of phase `full` when the files do not fit the scratch space.
    """
    parts = [b"full=\n"]
    folders = {posixpath.dirname(path) for path in (program.source_name, *(file.path for file in request.files))} - {""}
    if folders:
        parts.append(f"mkdir -p {_words(sorted(folders))}\n".encode())
    parts.extend(_write(quote(file.path), file.content) for file in request.files)
    if request.stdin:
        parts.append(_write(f"{STATE}/stdin", request.stdin))
    mark = quote(boundary)
    if program.standby:
        parts.append(_write(f"{STATE}/source", program.source))
        source = quote(program.source_name)
        # The interpreter has the pipe open before the file takes its name, and gets the end of it afterwards:
        # whatever opens the source later, for a traceback say, finds the file.
        fill = f"printf %b {_escaped(program.source)}" if len(program.source) <= _INLINE else f"cat {STATE}/source"
        start = f"echo {mark} >{STATE}/boundary; exec 6>{source}; {fill} >&6; "
        start += f"mv -f {STATE}/source {source}; exec 6>&-"
    else:
        parts.append(_write(quote(program.source_name), program.source))
        start = f"run {_words(program.run)}; finish {mark} run $?"
        if program.build:
            start = f"run {_words(program.build)}; c=$?; finish {mark} build $c; [ $c = 0 ] && {{ {start}; }}"
        exports = "".join(f"export {name}={quote(value)}; " for name, value in program.env.items())
        start = f"{{ {exports}{start}; }} | serve <&3"
    parts.append(f"if [ $full ]; then finish {mark} full 1; else {start}; fi\n".encode())
    return b"".join(parts)


def ping_message(boundary: str) -> bytes:
    """Asks for a mark of phase `ready`, with nothing run."""
    return f"finish {quote(boundary)} ready 0\n".encode()


def collect_message(patterns: Sequence[str], *, boundary: str, end_jobs: bool) -> bytes:
    """Asks for the matching regular files as tar archives, and a mark of phase `files` behind them.

    What `find` matches is a superset, since its `*` also matches slashes: `collect_pattern` decides.
    """
    tests = " -o ".join(f"-path {quote('./' + pattern.replace('**/', '*'))}" for pattern in patterns)
    first = "end_jobs; " if end_jobs else ""
    find = f"find . -type f \\( {tests} \\) -exec tar -cf - {{}} + </dev/null"
    return f"{first}{find}; finish {quote(boundary)} files 0\n".encode()


def collect_pattern(patterns: Iterable[str]) -> re.Pattern[str]:
    """The patterns as one regular expression over paths: `*` and `?` stop at a slash, `**/` is any folders."""
    translated = []
    for pattern in patterns:
        parts = re.split(r"(\*\*/|\*\*|\*|\?|\[[^]/]+\])", pattern)
        table: Mapping[str, str] = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
        translated.append(
            "".join(
                table.get(part)
                or (part.replace("[!", "[^", 1) if part.startswith("[") and part.endswith("]") else re.escape(part))
                for part in parts
            )
        )
    return re.compile("|".join(f"(?:{text})" for text in translated) or "(?!)", re.DOTALL)
