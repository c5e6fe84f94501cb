"""Starts sandboxes as containers, and removes those that nobody owns any more."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
from abc import abstractmethod
from collections.abc import Coroutine, Mapping
from typing import Any, ClassVar, Final, Generic, Self, TypeVar

from xagent_core.abc.backend import Backend, Capabilities, Probe, Sandbox, SandboxSpec
from xagent_core.containers.images import ImageChoice
from xagent_core.containers.labels import labels_of, why_removable
from xagent_core.containers.sandbox import ContainerSandbox
from xagent_core.containers.service import Service, ServiceChoice
from xagent_core.containers.streams import AttachedStreams
from xagent_core.errors import (
    BackendError,
    BackendUnavailableError,
    ConfigError,
    ImageNotFoundError,
    SandboxStartError,
    XAgentError,
)
from xagent_core.owner import Owner

__all__ = ["ContainerBackend"]

logger = logging.getLogger(__name__)

T = TypeVar("T")
S = TypeVar("S", bound=Service)

_PROBE_SECONDS: Final = 10.0
_UNDO_SECONDS: Final = 10.0


class ContainerBackend(Backend, Generic[S]):
    """Containers of one engine, whatever its SDK: a subclass names the service, and says how a container ends.

    Args:
        base_url: The service's address, before where it is looked for.
        images: Images by language, before all others.
        runtime: The OCI runtime, such as `runsc` or `kata`; by default the service's own choice.
        network: The network of programs that may reach the internet, else the engine's usual one.
        pull: Whether an image that is missing is pulled.
        environ: Instead of the process's environment, to find the service.
    """

    options: ClassVar[Mapping[str, type]] = {
        "base_url": str,
        "images": dict,
        "runtime": str,
        "network": str,
        "pull": bool,
    }
    """The keywords that are the options in `[backends.NAME]`, with their types."""
    network: ClassVar[str] = ""
    """The engine's usual network; empty for the service's own choice."""
    service_type: type[S]
    """What is connected to."""

    def __init__(
        self,
        *,
        base_url: str | None = None,
        images: Mapping[str, str] | None = None,
        runtime: str | None = None,
        network: str | None = None,
        pull: bool = True,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self._images = ImageChoice(images or {}, pull=pull)
        self._choice = ServiceChoice(
            base_url=base_url,
            environ=os.environ if environ is None else environ,
            runtime=runtime,
            network=self.network if network is None else network,
        )
        self._service: S | None = None
        self._owner: Owner | None = None
        self._connecting = asyncio.Lock()
        self._tasks: set[asyncio.Task[Any]] = set()

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Self:
        """The backend as its table in the configuration describes it.

        Raises:
            ConfigError: An option does not exist or has the wrong type.
        """
        table = f"backends.{cls.name}"
        for name, value in options.items():
            if name not in cls.options:
                raise ConfigError(table, f"unknown option {name!r}", f"Known are {', '.join(cls.options)}.")
            if not isinstance(value, cls.options[name]):
                raise ConfigError(f"{table}.{name}", f"{value!r} is not a {cls.options[name].__name__}")
        return cls(**options)

    @abstractmethod
    async def _sandbox(self, service: S, container: str, streams: AttachedStreams) -> ContainerSandbox:
        """The object for a container that is attached to and about to be started.

        Raises:
            BackendUnavailableError: The service does not answer.
        """

    async def probe(self) -> Probe:
        """Asks the service who it is."""
        try:
            async with asyncio.timeout(_PROBE_SECONDS):
                version, detail = await (await self._connect()).describe()
        except TimeoutError:
            return Probe(available=False, detail=f"{self.name} does not answer", fix="See the log of its service.")
        except BackendUnavailableError as error:
            return Probe(
                available=False,
                detail=error.cause,
                fix=error.fix,
                refused=type(error) is not BackendUnavailableError,
            )
        return Probe(available=True, version=version, detail=detail)

    async def capabilities(self) -> Capabilities:
        """What the service says that its kernel holds."""
        return (await self._connect()).capabilities()

    async def address(self) -> str:
        """Where the service listens, as a URL; it is started if need be, and speaks Docker's API.

        Raises:
            BackendUnavailableError: It does not answer.
        """
        return (await self._connect()).endpoint.url

    async def start(self, spec: SandboxSpec) -> Sandbox:
        """Creates a container, attaches to it, and only then starts it."""
        # A call that has reached the service cannot be taken back: what it made must be known to be removed.
        work = self._spawn(self._start(spec))
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            await asyncio.wait([self._spawn(self._undo(work))], timeout=_UNDO_SECONDS)
            raise

    async def reap(self) -> list[str]:
        """Goes by the labels, of containers that were never started too."""
        service, removed = await self._connect(), []
        for container, labels in (await service.sandboxes()).items():
            why = why_removable(labels, seen_from=self._own())
            # What the service is removing by itself, or another reaper has removed, is not said to be our doing.
            if why and await service.remove(container) == "removed":
                removed.append(f"{self.name} container {container[:12]}: {why}")
        return removed

    async def aclose(self) -> None:
        """Waits for what is being started or removed, then closes all connections."""
        while self._tasks:
            await asyncio.wait(self._tasks)
        if self._service is not None:
            self._service.close()
        self._service = None

    def _own(self) -> Owner:
        self._owner = self._owner or Owner.current()
        return self._owner

    async def _connect(self) -> S:
        async with self._connecting:
            if self._service is None:
                self._service = await self.service_type.connect(self._choice)
            return self._service

    async def _start(self, spec: SandboxSpec) -> Sandbox:
        service = await self._connect()
        container = await self._create(service, spec)
        streams: AttachedStreams | None = None
        sandbox: ContainerSandbox | None = None
        try:
            streams = await service.attach(container)
            sandbox = await self._sandbox(service, container, streams)
            await service.start(container)
        except BaseException:
            if sandbox is not None:
                sandbox.forget()
            elif streams is not None:
                streams.close()
            await self._remove_quietly(service, container)
            raise
        return sandbox

    async def _create(self, service: S, spec: SandboxSpec) -> str:
        # The name is known before the service answers, so that what it made can be removed if the answer is lost.
        name, labels = f"xagent-{secrets.token_hex(8)}", labels_of(self._own())
        try:
            try:
                return await service.create(spec, await self._images.find(service, spec), name=name, labels=labels)
            except ImageNotFoundError:
                # It was removed since it was looked up.
                self._images.forget(spec)
                return await service.create(spec, await self._images.find(service, spec), name=name, labels=labels)
        except (SandboxStartError, BackendUnavailableError):
            await self._remove_quietly(service, name)
            raise

    async def _remove_quietly(self, service: S, container: str) -> None:
        """Removes what a failed start has made; the reason of that failure matters more than one of the removal."""
        try:
            await service.remove(container)
        except BackendError as error:
            logger.warning("container %s could not be removed, the reaper will: %s", container, error)

    async def _undo(self, work: asyncio.Task[Sandbox]) -> None:
        try:
            sandbox = await work
            await sandbox.kill()
        except XAgentError as error:
            logger.info("a cancelled start ended with: %s", error)

    def _spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
