"""The values that cross the public interface: what is asked for, what comes back, what is streamed."""

from __future__ import annotations

import enum
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import PurePosixPath
from typing import Any, ClassVar, Final, Literal

from xagent_core.errors import InvalidRequestError

__all__ = [
    "GIB",
    "KIB",
    "MIB",
    "Event",
    "ExecutionRequest",
    "ExecutionResult",
    "FinishedEvent",
    "InputFile",
    "Limits",
    "NetworkPolicy",
    "OutputEvent",
    "OutputFile",
    "Phase",
    "Status",
    "StreamName",
    "Timings",
    "Usage",
    "format_size",
    "parse_size",
    "relative_path",
]

KIB: Final = 1024
MIB: Final = 1024 * KIB
GIB: Final = 1024 * MIB

Status = Literal["success", "error", "timeout", "out_of_memory", "output_limit", "killed"]
Phase = Literal["build", "run"]
StreamName = Literal["stdout", "stderr"]

# Bytes are base64 in JSON, so that any file survives the way through a queue.
_JSON: Final = {"ser_json_bytes": "base64", "val_json_bytes": "base64"}

# include/uapi/linux/limits.h: PATH_MAX, less the folder before it. include/uapi/linux/binfmts.h: MAX_ARG_STRLEN,
# which is 32 pages for one argument or variable, less the final NUL.
_LONGEST_PATH: Final = 4000
_LONGEST_STRING: Final = 32 * 4096 - 1

_SIZE = re.compile(r"(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>[kmgt]?)(?:i?b)?", re.IGNORECASE)
_UNITS: Final = {"": 1, "k": KIB, "m": MIB, "g": GIB, "t": 1024 * GIB}


def parse_size(text: str | int) -> int:
    """Turns `"256m"`, `"1.5g"`, `"64 KiB"` or a number of bytes into bytes.

    Units are powers of 1024, as container engines read them.

    Args:
        text: A number of bytes, or a number with one of the units b, k, m, g, t (`kb`, `kib` mean the same).

    Returns:
        The size in bytes.

    Raises:
        InvalidRequestError: The text is not a size.
    """
    if isinstance(text, int) and not isinstance(text, bool):
        return text
    match = _SIZE.fullmatch(str(text).strip())
    size = float(match["number"]) * _UNITS[match["unit"].lower()] if match else math.inf
    if math.isinf(size):
        raise InvalidRequestError("request", f"{text!r} is not a size", "Write it like 256m, 1.5g or 1048576.")
    return int(size)


def format_size(size: int) -> str:
    """Writes a number of bytes in the largest unit that it is a multiple of: `"32 MiB"`; `parse_size` reads it."""
    for unit in ("t", "g", "m", "k"):
        if size and size % _UNITS[unit] == 0:
            return f"{size // _UNITS[unit]} {unit.upper()}iB"
    return f"{size} b"


class NetworkPolicy(enum.Enum):
    """What a sandbox may reach."""

    NONE = "none"
    """Nothing but its own loopback interface. The default."""
    INTERNET = "internet"
    """Whatever the engine's default network reaches. It may include hosts of the local network."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What a caller allows one execution; None means that the default applies.

    Attributes:
        memory: Bytes of memory, swap excluded, for all processes together.
        cpus: CPU time a second of wall-clock time: 0.5 is half a CPU.
        timeout: Seconds of wall-clock time for build and run together.
        processes: Processes and threads alive at once.
        scratch: Bytes of writable space, the program's own files included.
        output: Bytes kept of each of stdout and stderr; the program is stopped when it writes more.
        collect: Bytes of all collected files together.

    Raises:
        InvalidRequestError: A value is not a number or is out of its bounds.
    """

    memory: int | None = None
    cpus: float | None = None
    timeout: float | None = None
    processes: int | None = None
    scratch: int | None = None
    output: int | None = None
    collect: int | None = None

    # Lower bound of memory: the least that Docker accepts (20.10: "Minimum memory limit allowed is 6MB").
    # Lower bound of cpus: the least quota that the kernel accepts (1 ms in a period of 100 ms).
    # Processes: the guest itself is three. The upper bounds only tell a slip of the pen from a wish.
    BOUNDS: ClassVar[Mapping[str, tuple[float, float]]] = {
        "memory": (6 * MIB, 16 * 1024 * GIB),
        "cpus": (0.01, 4096),
        "timeout": (0.01, 7 * 86400),
        "processes": (8, 4_194_304),
        "scratch": (64 * KIB, 16 * 1024 * GIB),
        "output": (0, GIB),
        "collect": (0, GIB),
    }
    # What is counted in bytes.
    SIZES: ClassVar[frozenset[str]] = frozenset({"memory", "scratch", "output", "collect"})

    def __post_init__(self) -> None:
        for name, (low, high) in self.BOUNDS.items():
            value = getattr(self, name)
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
                raise InvalidRequestError("request", f"limit {name} must be a number, not {value!r}")
            if not low <= value <= high:
                least, most = (format_size(int(x)) if name in self.SIZES else f"{x:.12g}" for x in (low, high))
                raise InvalidRequestError(
                    "request", f"limit {name}={value!r} is out of bounds", f"Choose from {least} to {most}."
                )
            if name not in ("cpus", "timeout") and not isinstance(value, int):
                raise InvalidRequestError("request", f"limit {name} must be a whole number, not {value!r}")

    def over(self, base: Limits) -> Limits:
        """These limits where they are set, and those of `base` where they are not."""
        return Limits(
            **{f.name: getattr(base, f.name) if (own := getattr(self, f.name)) is None else own for f in fields(self)}
        )


def relative_path(path: str, what: str) -> str:
    """A path inside the workspace, normalised.

    Args:
        path: As somebody wrote it.
        what: What an error calls it.

    Returns:
        The path, relative to the workspace.

    Raises:
        InvalidRequestError: It is empty, absolute, leaves the workspace, or is longer than Linux allows.
    """
    size = len(_bytes_of(path, f"{what} path"))
    pure = PurePosixPath(path)
    if not path or pure.is_absolute() or ".." in pure.parts or not pure.parts:
        raise InvalidRequestError(
            "request", f"{what} path {path!r} is not inside the workspace", "Use a relative path without '..'."
        )
    if size > _LONGEST_PATH or any(len(part.encode("utf-8", "surrogateescape")) > 255 for part in pure.parts):
        raise InvalidRequestError(
            "request", f"{what} path {path[:40]!r}... is too long", "A name has at most 255 bytes."
        )
    return str(pure)


def shown_path(path: str) -> str:
    r"""A path as text that can be sent anywhere: bytes that are not UTF-8 are shown as escapes (`\xff`).

    Args:
        path: As Python has it of the file system, where each such byte is a surrogate.

    Returns:
        The text, which leads to no file where it has an escape.
    """
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _bytes_of(text: object, what: str) -> bytes:
    """Text as the kernel gets it, after a check that it can."""
    if not isinstance(text, str):
        raise InvalidRequestError("request", f"{what} must be text, not {text!r}")
    try:
        data = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise InvalidRequestError("request", f"{what} cannot be encoded: {error}") from error
    if b"\0" in data:
        raise InvalidRequestError("request", f"{what} contains a NUL byte")
    return data


@dataclass(frozen=True, slots=True)
class InputFile:
    """A file that is put into the workspace before the program starts.

    Args:
        path: Relative to the workspace, which is the program's working directory.
        content: Its bytes.

    Raises:
        InvalidRequestError: The path is empty, absolute, or leaves the workspace.
    """

    path: str
    content: bytes

    __pydantic_config__: ClassVar[Any] = _JSON

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", relative_path(self.path, "input file"))


@dataclass(frozen=True, slots=True)
class OutputFile:
    r"""A regular file that was collected from the workspace after the run.

    Attributes:
        path: Relative to the workspace. Bytes that are not UTF-8 are shown as escapes, such as `\xff`.
        content: Its bytes. Its mode is not kept.
    """

    path: str
    content: bytes

    __pydantic_config__: ClassVar[Any] = _JSON


@dataclass(frozen=True, kw_only=True, slots=True)
class ExecutionRequest:
    """One program to run, with all that it may see and use.

    Attributes:
        code: The source text.
        language: The name or an alias of an installed language.
        args: The program's own arguments.
        env: Environment variables added to the sandbox's own few.
        stdin: What the program reads from its standard input.
        files: Put into the workspace before the start.
        collect: Patterns of files to bring back after the run; `*`, `?`, `[...]` and `**`, relative to the workspace.
        limits: What the caller sets; the rest is default.
        network: What the program may reach; a policy, or its name.

    Raises:
        InvalidRequestError: A value is of the wrong kind, or could not be given to any program (a NUL byte, a path
            that escapes, an argument that is too long).
    """

    code: str
    language: str = "python"
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    stdin: bytes = b""
    files: tuple[InputFile, ...] = ()
    collect: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)
    network: NetworkPolicy = NetworkPolicy.NONE

    __pydantic_config__: ClassVar[Any] = _JSON

    def __post_init__(self) -> None:
        if not isinstance(self.code, str) or not isinstance(self.stdin, bytes):
            raise InvalidRequestError("request", "the code must be text, and the input bytes")
        if not isinstance(self.language, str):
            raise InvalidRequestError("request", f"the language must be a name, not {self.language!r}")
        try:
            object.__setattr__(self, "network", NetworkPolicy(self.network))
        except ValueError as error:
            names = " or ".join(repr(policy.value) for policy in NetworkPolicy)
            raise InvalidRequestError("request", f"network={self.network!r} is unknown", f"Write {names}.") from error
        if not all(isinstance(file, InputFile) for file in self.files):
            raise InvalidRequestError("request", "files must be input files", "Write InputFile('a.txt', b'...').")
        for arg in self.args:
            _check_size(_bytes_of(arg, "an argument"), "an argument")
        for name, value in self.env.items():
            if not isinstance(name, str) or re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) is None:
                raise InvalidRequestError("request", f"{name!r} cannot be an environment variable's name")
            _check_size(name.encode() + b"=" + _bytes_of(value, f"variable {name}"), f"variable {name}")
        object.__setattr__(self, "collect", tuple(relative_path(p, "collect") for p in self.collect))
        paths = {file.path for file in self.files}
        if len(paths) != len(self.files):
            raise InvalidRequestError("request", "two input files have the same path")
        if folder := next((str(f) for path in paths for f in PurePosixPath(path).parents if str(f) in paths), None):
            raise InvalidRequestError("request", f"input file {folder!r} is also the folder of another")


def _check_size(data: bytes, what: str) -> None:
    if len(data) > _LONGEST_STRING:
        raise InvalidRequestError(
            "request", f"{what} is longer than Linux allows ({_LONGEST_STRING} bytes)", "Use a file or the input."
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Usage:
    """What the program used, as far as the backend can tell.

    Attributes:
        peak_memory: Highest memory of the sandbox in bytes, what stood by included.
        cpu_time: CPU seconds of the sandbox, what stood by included.
        oom_kills: Processes that the kernel killed for memory.
    """

    peak_memory: int | None = None
    cpu_time: float | None = None
    oom_kills: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Timings:
    """Where the time went, in seconds of wall-clock time.

    Attributes:
        acquire: Until a sandbox was at hand.
        build: The language's build step; 0 where there is none.
        run: From the hand-over of the program (or the end of its build) to its end.
    """

    acquire: float = 0.0
    build: float = 0.0
    run: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class ExecutionResult:
    """What became of one program.

    Attributes:
        status: `success` means exit code 0; see the README for the others.
        output: What it wrote to stdout. Bytes that are not UTF-8 are shown as U+FFFD.
        error: What it wrote to stderr.
        exit_code: Its exit code; 128 plus the signal's number when a signal ended it; None when it did not end by
            itself.
        execution_time: Seconds for build and run.
        language: The language's name, aliases resolved.
        backend: The backend that ran it.
        phase: `build` when it did not come past its build step.
        output_truncated: Whether more was written to stdout than `output` holds.
        error_truncated: The same for stderr.
        files: What was collected.
        files_truncated: Whether more matched than `files` holds, or it could not all be fetched.
        usage: What it used.
        timings: Where the time went.
        value: In a session, the text of the last expression's value, as a notebook shows it.
        state_lost: In a session, whether what it had kept is gone, since the program could only be stopped by force,
            or has ended the interpreter; the next call starts afresh.
        unenforced: Default limits that this backend cannot hold on this machine. A limit that the caller set is
            never among them: it would have been refused.
    """

    status: Status
    output: str
    error: str
    exit_code: int | None
    execution_time: float
    language: str
    backend: str
    phase: Phase = "run"
    output_truncated: bool = False
    error_truncated: bool = False
    files: tuple[OutputFile, ...] = ()
    files_truncated: bool = False
    usage: Usage = field(default_factory=Usage)
    timings: Timings = field(default_factory=Timings)
    value: str | None = None
    state_lost: bool = False
    unenforced: tuple[str, ...] = ()

    __pydantic_config__: ClassVar[Any] = _JSON

    @property
    def ok(self) -> bool:
        """Whether the program ended with exit code 0."""
        return self.status == "success"


@dataclass(frozen=True, kw_only=True, slots=True)
class OutputEvent:
    """Some output, as it was produced.

    Attributes:
        stream: Where it was written.
        data: As text. Bytes that are not UTF-8 are shown as U+FFFD, and a character that is cut at the end of a
            piece comes with the next one, so it may be empty.
        raw: The bytes as they were written.
        phase: What wrote it.
    """

    stream: StreamName
    data: str
    raw: bytes = b""
    phase: Phase = "run"

    __pydantic_config__: ClassVar[Any] = _JSON


@dataclass(frozen=True, kw_only=True, slots=True)
class FinishedEvent:
    """The last event of every execution."""

    result: ExecutionResult


Event = OutputEvent | FinishedEvent
