"""Starts sandboxes as Docker containers."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Self, TypeVar

from docker.errors import APIError

from xagent_core.abc.backend import Backend, Capabilities, Probe, Sandbox, SandboxSpec
from xagent_core.errors import (
    BackendError,
    BackendUnavailableError,
    ConfigError,
    ImageNotFoundError,
    SandboxStartError,
    XAgentError,
)
from xagent_core.owner import Owner
from xagent_docker.capabilities import capabilities_of
from xagent_docker.container import container_config, unheld
from xagent_docker.daemon import Daemon
from xagent_docker.endpoint import COMPONENT
from xagent_docker.errors import unavailable
from xagent_docker.events import End, Events
from xagent_docker.image_choice import Image, ImageChoice
from xagent_docker.labels import labels_of, why_removable
from xagent_docker.sandbox import DockerSandbox, remove
from xagent_docker.streams import AttachedStreams

__all__ = ["DockerBackend"]

logger = logging.getLogger(__name__)

T = TypeVar("T")

_PROBE_SECONDS: Final = 5.0
_UNDO_SECONDS: Final = 10.0
_ATTACH: Final = "stream=1&stdin=1&stdout=1&stderr=1"


@dataclass(frozen=True, slots=True)
class _Connection:
    """All that is known of a daemon that answers."""

    daemon: Daemon
    owner: Owner
    internet: bool


class DockerBackend(Backend):
    """Docker containers.

    Args:
        base_url: The daemon's address, before `DOCKER_HOST` and the Docker context.
        images: Images by language, before all others.
        runtime: The OCI runtime, such as `runsc` or `kata`.
        network: The Docker network of programs that may reach the internet.
        pull: Whether an image that is missing is pulled.
        environ: Instead of the process's environment, to find the daemon.
    """

    name = COMPONENT

    def __init__(
        self,
        *,
        base_url: str | None = None,
        images: Mapping[str, str] | None = None,
        runtime: str | None = None,
        network: str = "bridge",
        pull: bool = True,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self._base_url = base_url
        self._runtime = runtime
        self._network = network
        self._environ = environ
        self._images = ImageChoice(images or {}, pull=pull)
        self._connection: _Connection | None = None
        self._events: Events | None = None
        self._connecting = asyncio.Lock()
        self._tasks: set[asyncio.Task[Any]] = set()

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Self:
        """The backend as `[backends.docker]` describes it.

        Raises:
            ConfigError: An option does not exist or has the wrong type.
        """
        kinds: dict[str, type] = {"base_url": str, "images": dict, "runtime": str, "network": str, "pull": bool}
        for name, value in options.items():
            if name not in kinds:
                raise ConfigError(f"backends.{COMPONENT}", f"unknown option {name!r}", f"Known are {', '.join(kinds)}.")
            if not isinstance(value, kinds[name]):
                raise ConfigError(f"backends.{COMPONENT}.{name}", f"{value!r} is not a {kinds[name].__name__}")
        return cls(**options)

    async def probe(self) -> Probe:
        """Asks the daemon who it is."""
        try:
            async with asyncio.timeout(_PROBE_SECONDS):
                known = self._connection is not None
                daemon = (await self._connect()).daemon
                info = await daemon.call("tell its state", daemon.client.info) if known else daemon.info
        except TimeoutError:
            return Probe(available=False, detail="the Docker daemon does not answer", fix="See the daemon's log.")
        except BackendUnavailableError as error:
            return Probe(
                available=False,
                detail=error.cause,
                fix=error.fix,
                refused=type(error) is not BackendUnavailableError,
            )
        version = str(info.get("ServerVersion", ""))
        return Probe(available=True, version=version, detail=f"Docker {version} at {daemon.endpoint.url}")

    async def capabilities(self) -> Capabilities:
        """What `docker info` says that the kernel holds."""
        connection = await self._connect()
        return capabilities_of(connection.daemon.info, internet=connection.internet)

    async def start(self, spec: SandboxSpec) -> Sandbox:
        """Creates a container, attaches to it, and only then starts it."""
        # A call that has reached the daemon cannot be taken back: what it made must be known to be removed.
        work = self._spawn(self._start(spec))
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            await asyncio.wait([self._spawn(self._undo(work))], timeout=_UNDO_SECONDS)
            raise

    async def reap(self) -> list[str]:
        """Goes by the labels, of containers that were never started too."""
        connection = await self._connect()
        daemon, removed = connection.daemon, []
        found = await daemon.call(
            "list its containers", daemon.client.containers, all=True, filters={"label": "xagent-sandbox=true"}
        )
        for container in found:
            why = why_removable(container["Labels"], seen_from=connection.owner)
            if why:
                await remove(daemon, container["Id"])
                removed.append(f"docker container {container['Id'][:12]}: {why}")
        return removed

    async def aclose(self) -> None:
        """Waits for what is being started or removed, then closes all connections."""
        while self._tasks:
            await asyncio.wait(self._tasks)
        if self._events is not None:
            await self._events.aclose()
        if self._connection is not None:
            self._connection.daemon.close()
        self._events = self._connection = None

    async def _connect(self) -> _Connection:
        async with self._connecting:
            if self._connection is None:
                environ = os.environ if self._environ is None else self._environ
                daemon = await Daemon.connect(self._base_url, environ, runtime=self._runtime)
                try:
                    networks = await daemon.call("list networks", daemon.client.networks, names=[self._network])
                    owner = Owner.current()
                except BaseException:
                    daemon.close()
                    raise
                internet = any(network["Name"] == self._network for network in networks)
                self._connection = _Connection(daemon, owner, internet)
            return self._connection

    async def _listening(self, connection: _Connection) -> Events:
        """The daemon's events; connected anew after it was restarted."""
        async with self._connecting:
            if self._events is None or self._events.lost.is_set():
                daemon = connection.daemon
                info = await daemon.call("tell its time", daemon.client.info)
                # The daemon's clock counts, and what happens until it listens to us is not lost.
                since = int(datetime.fromisoformat(info["SystemTime"]).timestamp())
                events = Events(daemon.endpoint, version=daemon.version, owner=str(connection.owner), since=since)
                try:
                    await events.open()
                except OSError as error:
                    raise unavailable(error, daemon.endpoint) from error
                self._events = events
            return self._events

    async def _start(self, spec: SandboxSpec) -> Sandbox:
        connection = await self._connect()
        daemon, events = connection.daemon, await self._listening(connection)
        container = await self._create(connection, spec)
        end = events.watch(container)
        streams: AttachedStreams | None = None
        try:
            streams = await _attach(daemon, container)
            try:
                await daemon.call("start the sandbox", daemon.client.start, container)
            except APIError as error:
                raise SandboxStartError(COMPONENT, f"the daemon could not start it: {error.explanation}") from error
        except BaseException:
            if streams is not None:
                streams.close()
            events.forget(container)
            await _remove_quietly(daemon, container, end)
            raise
        return DockerSandbox(daemon, container, streams=streams, events=events, end=end)

    async def _create(self, connection: _Connection, spec: SandboxSpec) -> str:
        image = await self._images.find(connection.daemon, spec)
        try:
            return await self._create_from(image, connection, spec)
        except ImageNotFoundError:
            # It was removed since it was looked up.
            self._images.forget(spec)
            return await self._create_from(await self._images.find(connection.daemon, spec), connection, spec)

    async def _create_from(self, image: Image, connection: _Connection, spec: SandboxSpec) -> str:
        daemon = connection.daemon
        # The name is known before the daemon answers, so that what it made can be removed if the answer is lost.
        name = f"xagent-{secrets.token_hex(8)}"
        config = container_config(
            spec,
            image=image.name,
            volumes=image.volumes,
            labels=labels_of(connection.owner),
            runtime=self._runtime,
            network=self._network,
        )
        try:
            answer = await daemon.call("create the sandbox", daemon.client.create_container_from_config, config, name)
        except APIError as error:
            if "no such image" in str(error.explanation).lower():
                raise ImageNotFoundError(COMPONENT, f"image {image.name} was removed") from error
            raise SandboxStartError(COMPONENT, f"the daemon could not create it: {error.explanation}") from error
        except BackendError:
            await _remove_quietly(daemon, name)
            raise
        container = str(answer["Id"])
        if lost := unheld(answer.get("Warnings") or (), spec):
            await _remove_quietly(daemon, container)
            raise SandboxStartError(COMPONENT, f"the daemon would not hold a limit: {lost[0]}", "See `xagent doctor`.")
        return container

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


async def _attach(daemon: Daemon, container: str) -> AttachedStreams:
    """Connects the streams of a container that is not yet started: later, output could be lost."""
    path = f"/v{daemon.version}/containers/{container}/attach?{_ATTACH}"
    try:
        streams = await daemon.endpoint.connect(lambda: AttachedStreams(path))
        try:
            status = await streams.attached()
        except BaseException:
            streams.close()
            raise
    except OSError as error:
        raise unavailable(error, daemon.endpoint) from error
    if status not in (101, 200):
        streams.close()
        raise SandboxStartError(COMPONENT, f"the daemon refused to attach to the sandbox with HTTP status {status}")
    return streams


async def _remove_quietly(daemon: Daemon, container: str, end: End | None = None) -> None:
    """Removes what a failed start has made; the reason of that failure matters more than one of the removal."""
    try:
        await remove(daemon, container, end)
    except BackendError as error:
        logger.warning("container %s could not be removed, the reaper will: %s", container, error)
