"""Makes a request of what callers write: text or bytes, sizes such as `"256m"`, any iterable."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, TypedDict, Unpack

from xagent_core.errors import InvalidRequestError
from xagent_core.types import ExecutionRequest, InputFile, Limits, NetworkPolicy, parse_size

__all__ = ["RequestArguments", "make_request"]


class RequestArguments(TypedDict, total=False):
    """What can be said of a program, besides its code.

    Attributes:
        language: The name or an alias of an installed language; by default `python`.
        timeout: Seconds for build and run together.
        memory_limit: Bytes, or a size such as `"256m"`.
        cpu_limit: CPUs, 0.5 is half of one.
        limits: Further limits; `timeout`, `memory_limit` and `cpu_limit` go before it.
        network: What the program may reach; by default nothing.
        stdin: What it reads from its standard input.
        args: Its arguments.
        env: Its environment variables.
        files: Put into its working directory.
        collect: Patterns of files to bring back.
    """

    language: str
    timeout: float | None
    memory_limit: int | str | None
    cpu_limit: float | None
    limits: Limits | None
    network: NetworkPolicy | Literal["none", "internet"]
    stdin: str | bytes
    args: Iterable[str]
    env: Mapping[str, str] | None
    files: Iterable[InputFile]
    collect: Iterable[str]


def make_request(code: str | ExecutionRequest, **arguments: Unpack[RequestArguments]) -> ExecutionRequest:
    """A request from code and arguments.

    Args:
        code: Source text; or a whole request, which is given back as it is and takes no arguments.
        **arguments: See `RequestArguments`.

    Returns:
        The request.

    Raises:
        InvalidRequestError: A value cannot be used.
        TypeError: There is no such argument, or there are arguments beside a whole request.
    """
    if isinstance(code, ExecutionRequest):
        if arguments:
            raise TypeError(f"a whole request takes no further arguments: {', '.join(arguments)}")
        return code
    unknown = arguments.keys() - RequestArguments.__annotations__.keys()
    if unknown:
        raise TypeError(f"unexpected arguments: {', '.join(sorted(unknown))}")
    for name, value in (("args", arguments.get("args")), ("collect", arguments.get("collect"))):
        if isinstance(value, str):
            raise InvalidRequestError("request", f"{name} must be a list, not a string", f"Write {name}=[{value!r}].")
    memory, stdin = arguments.get("memory_limit"), arguments.get("stdin", b"")
    try:
        input_bytes = stdin.encode("utf-8", "surrogateescape") if isinstance(stdin, str) else stdin
    except UnicodeEncodeError as error:
        raise InvalidRequestError("request", f"the input cannot be encoded: {error}") from error
    own = Limits(
        timeout=arguments.get("timeout"),
        memory=None if memory is None else parse_size(memory),
        cpus=arguments.get("cpu_limit"),
    )
    return ExecutionRequest(
        code=code,
        language=arguments.get("language", "python"),
        limits=own.over(arguments.get("limits") or Limits()),
        network=arguments.get("network", NetworkPolicy.NONE),  # type: ignore[arg-type] # it takes the name, too
        stdin=input_bytes,
        args=tuple(arguments.get("args", ())),
        env=dict(arguments.get("env") or {}),
        files=tuple(arguments.get("files", ())),
        collect=tuple(arguments.get("collect", ())),
    )
