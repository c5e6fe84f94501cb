"""The contract of a sandbox backend: start one isolated process, and give its byte streams.

Files, streaming, build steps, limits of time and output, pooling and sessions are core's: they are made of the
guest's messages on those streams, and so work on every backend.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from xagent_core.abc.language import Packages
from xagent_core.errors import BackendPermissionError, BackendUnavailableError
from xagent_core.types import NetworkPolicy, StreamName, Usage

__all__ = ["Backend", "BackendRegistration", "Capabilities", "Probe", "Sandbox", "SandboxExit", "SandboxSpec"]


@dataclass(frozen=True, kw_only=True, slots=True)
class SandboxSpec:
    """All that a backend must know to start a sandbox. Equal specs make sandboxes that are interchangeable.

    Attributes:
        command: The first process. It reads the guest's messages from its standard input.
        language: The language's name; engines with images look for one of their own made for it.
        image: The image for engines that use images, unless they have one of their own for the language.
        executables: Programs that must be on the PATH inside.
        packages: Where they come from, for backends without images.
        env: Environment variables of the first process. The backend adds PATH, and nothing else of its own will; an
            engine may name the sandbox in HOSTNAME and `container`.
        memory: Bytes, for all processes together; swap is off.
        cpus: CPU time a second of wall-clock time.
        processes: Processes and threads alive at once, the guest's three included.
        scratch: Bytes of `/tmp`, a tmpfs of mode 1777 with nosuid and nodev. It is all that is writable.
        scratch_exec: Whether programs may be executed from `/tmp`; otherwise it is mounted noexec.
        open_files: Descriptors open at once in one process.
        network: What it may reach.
        unenforced: Names of limits above that this backend need not hold, for they are defaults that it does not
            claim. A limit that is not named here must hold, or `start` must fail.
    """

    command: tuple[str, ...]
    language: str
    image: str
    executables: tuple[str, ...]
    packages: Packages
    env: tuple[tuple[str, str], ...]
    memory: int
    cpus: float
    processes: int
    scratch: int
    scratch_exec: bool
    open_files: int = 1024
    network: NetworkPolicy = NetworkPolicy.NONE
    unenforced: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Capabilities:
    """What a backend truthfully enforces on this machine, now.

    Attributes:
        limits: Names among `memory`, `cpus`, `processes`, `scratch` that hold for the sandbox as a whole.
        networks: The network policies that it can hold.
        how: For a reader, how each is held: `{"memory": "cgroup v1", "cpus": "not held: ..."}`.
        images: Whether it runs images; otherwise it uses the programs of the machine. A backend with images has an
            option `pull`: when it is false, an image that is not present is an `ImageNotFoundError`.
        reports_usage: Whether `Sandbox.usage` has anything to tell.
    """

    limits: frozenset[str]
    networks: frozenset[NetworkPolicy] = frozenset({NetworkPolicy.NONE})
    how: Mapping[str, str] = field(default_factory=dict)
    images: bool = False
    reports_usage: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Probe:
    """Whether a backend can be used here, and why not.

    Attributes:
        available: Whether `start` can be expected to work.
        version: The engine's own version, where it answers.
        detail: One sentence for a reader.
        fix: What to do where it is not available.
        refused: Whether it is there and refuses this user.
    """

    available: bool
    version: str = ""
    detail: str = ""
    fix: str = ""
    refused: bool = False

    def error(self, backend: str) -> BackendUnavailableError:
        """The error for a caller who wants to use the backend all the same."""
        kind = BackendPermissionError if self.refused else BackendUnavailableError
        return kind(backend, self.detail, self.fix)


@dataclass(frozen=True, kw_only=True, slots=True)
class SandboxExit:
    """How a sandbox ended.

    Attributes:
        exit_code: The first process's exit code, where known.
        oom_killed: Whether the kernel killed a process inside for memory, where known.
    """

    exit_code: int | None = None
    oom_killed: bool | None = None


class Sandbox(ABC):
    """One isolated process tree, reached through the streams of its first process.

    Attributes:
        id: Names it in the engine's own tools and in logs.
    """

    id: str

    @abstractmethod
    async def send(self, data: bytes) -> None:
        """Writes to the first process's standard input, waiting while it does not read.

        Raises:
            SandboxLostError: The sandbox or its engine is gone.
        """

    @abstractmethod
    async def receive(self) -> tuple[StreamName, bytes] | None:
        """The next piece of output of either stream; None when both have ended.

        The order within a stream is kept; between the streams it need not be. What is not fetched stays with the
        engine, whose bounded buffers hold the program back. A call that is cancelled loses nothing.

        Raises:
            SandboxLostError: The connection to the engine broke, as opposed to the sandbox having ended.
        """

    @abstractmethod
    async def wait(self) -> SandboxExit:
        """Waits for the end of the first process; called after `receive` gave None.

        Raises:
            SandboxLostError: The engine cannot be asked.
        """

    @abstractmethod
    async def kill(self) -> None:
        """Ends every process inside at once and frees all that the engine holds for it. May be called again.

        What was written before can still be fetched with `receive`, until it gives None.

        Raises:
            BackendError: The engine could not be told; its reaper will remove what is left.
        """

    async def usage(self) -> Usage | None:
        """What was used so far, read from outside; None where the backend cannot tell."""
        return None


class Backend(ABC):
    """Makes sandboxes. One object serves one `Engine` and is used from one event loop.

    Constructing one does no I/O: that is for `probe` and `start`.

    Attributes:
        name: The name under which it is registered.
    """

    name: str

    @abstractmethod
    async def probe(self) -> Probe:
        """Looks whether sandboxes can be started here. Never raises for a missing engine, and takes at most 10 s."""

    @abstractmethod
    async def capabilities(self) -> Capabilities:
        """What is enforced here. Called after a successful probe; the answer may be cached.

        Raises:
            BackendError: The engine does not answer any more.
        """

    @abstractmethod
    async def start(self, spec: SandboxSpec) -> Sandbox:
        """Starts a sandbox and returns when its streams are connected.

        A cancelled start leaves nothing behind.

        Args:
            spec: Every policy in it must be held from the first instruction on.

        Returns:
            The sandbox, whose first process is running or about to.

        Raises:
            BackendUnavailableError: The engine does not answer.
            ImageNotFoundError: The image is not there.
            SandboxStartError: Anything else, a policy that cannot be held included.
        """

    @abstractmethod
    async def reap(self) -> list[str]:
        """Removes sandboxes whose owner is dead or whose deadline has passed; never another live owner's.

        Returns:
            One line for each thing removed, for a reader.

        Raises:
            BackendError: The engine does not answer.
        """

    @abstractmethod
    async def aclose(self) -> None:
        """Frees connections and threads; the sandboxes were killed before.

        May be called again, and on a backend that was never used.
        """


@dataclass(frozen=True, kw_only=True)
class BackendRegistration:
    """Announces a backend.

    Attributes:
        name: What users write.
        summary: One line.
        factory: Called with the options of `[backends.NAME]`; imports the heavy module when it is called.
        preference: `auto` takes the lowest that answers. Container engines have 10 to 49, others from 50.
        api_version: The version of the plugin interface that it was written for.
    """

    name: str
    summary: str
    factory: Callable[[Mapping[str, Any]], Backend]
    preference: int = 100
    api_version: int = 1
