"""Calls one Podman service through the `podman` package."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import quote

from platformdirs import user_cache_path
from podman.api import APIClient
from podman.errors import APIError, PodmanError
from requests.exceptions import RequestException

from xagent_core.abc.backend import Capabilities, SandboxSpec
from xagent_core.containers.advice import Advice, unavailable
from xagent_core.containers.endpoint import Endpoint
from xagent_core.containers.images import Image
from xagent_core.containers.render import unheld
from xagent_core.containers.service import Removal, Service, ServiceChoice
from xagent_core.errors import BackendError, BackendUnavailableError, ImageNotFoundError, SandboxStartError
from xagent_podman.capabilities import capabilities_of, reaches_internet
from xagent_podman.container import container_spec, write_profile
from xagent_podman.endpoint import COMPONENT, DEFAULT, find_endpoint, wake

__all__ = ["PodmanService"]

_API: Final = "4.0.0"
_OLDEST: Final = (4, 3)
_HELLO_SECONDS: Final = 8
_CALL_SECONDS: Final = 60
_PULL_SECONDS: Final = 3600
# Seconds between attempts to remove a container.
_PAUSES: Final = (0.05, 0.1, 0.2, 0.4, 0.8)
_FOREIGN: Final = (PodmanError, RequestException, OSError)
_ADVICE: Final = Advice(
    component=COMPONENT,
    service="Podman service",
    start="Start it (`systemctl --user start podman.socket`, or `podman system service --time=0`), or set "
    "CONTAINER_HOST.",
    permit="Use the rootless service of your own user: unset CONTAINER_HOST, or run `podman system service`.",
    refusals={
        "seccomp profile": "The service must see the files of this machine: run xagent where Podman runs.",
        "executable file": "Use an image that has sh on its PATH.",
        "no space left": "Free space on the disk of Podman: `podman system df` shows what takes it.",
        "unified": "crun refuses this layout of cgroups: install runc, and name it in containers.conf or the option "
        "`runtime`.",
        "short-name": "Name the image with its registry, as in `docker.io/library/python:3`.",
    },
)


class PodmanService(Service):
    """A service that answered, and can hold the policies that are no choice.

    Attributes:
        info: What `podman info` tells.
    """

    advice = _ADVICE
    foreign = _FOREIGN

    def __init__(
        self,
        endpoint: Endpoint,
        choice: ServiceChoice,
        client: APIClient,
        info: Mapping[str, Any],
        pool: ThreadPoolExecutor,
    ) -> None:
        # Only the Docker-compatible request attaches to a container that is not started yet.
        super().__init__(endpoint, choice, api="/v1.41", pool=pool)
        self.info = info
        self.internet = reaches_internet(info)
        self._client = client

    @classmethod
    def _open(cls, choice: ServiceChoice, pool: ThreadPoolExecutor) -> Self:
        endpoint = find_endpoint(choice.base_url, choice.environ)
        with ExitStack() as opened:
            client = opened.enter_context(_client(endpoint))
            try:
                _wake(endpoint)
                info = _get(client, "info")
            except _FOREIGN as error:
                raise unavailable(error, endpoint, _ADVICE) from error
            client.timeout = _CALL_SECONDS
            _check(info, choice.runtime)
            _profile()
            opened.pop_all()
        return cls(endpoint, choice, client, info, pool)

    async def wake(self) -> None:
        """Starts the service again if it has ended since: one that nobody uses does.

        Raises:
            BackendUnavailableError: It cannot be started.
        """
        await self.call("wake up", _wake, self.endpoint)

    def refusal(self, error: BaseException) -> str | None:
        """What the service says. The package raises the same where nothing answers, with another error behind it."""
        if not isinstance(error, APIError) or error.__cause__ is not None:
            return None
        return str(error.explanation or error).strip()

    async def describe(self) -> tuple[str, str]:
        """Asks for its version."""
        info = await self.call("tell its state", _get, self._client, "info")
        version = str(info["version"]["Version"])
        how = "rootless" if info["host"]["security"]["rootless"] else "rootful"
        return version, f"Podman {version}, {how}, at {self.endpoint.url}"

    def capabilities(self) -> Capabilities:
        """What `podman info` says that the kernel holds."""
        return capabilities_of(self.info, internet=self.internet)

    async def create(self, spec: SandboxSpec, image: Image, *, name: str, labels: Mapping[str, str]) -> str:
        """Creates a container, and takes a warning that a limit was dropped for an error."""
        document = container_spec(
            spec,
            name=name,
            image=image.name,
            labels=labels,
            # Looked at each time: caches are cleaned up while services run.
            profile=await self.call("write the list of system calls", _profile),
            network=self.choice.network,
        )
        try:
            answer = await self.call("create the sandbox", _post, self._client, "containers/create", document)
        except (APIError, SandboxStartError) as error:
            words = str(error.explanation) if isinstance(error, APIError) else error.cause
            if "no such image" in words.lower() or "image not known" in words.lower():
                raise ImageNotFoundError(COMPONENT, f"image {image.name} was removed") from error
            if isinstance(error, SandboxStartError):
                raise
            raise SandboxStartError(COMPONENT, f"the service could not create it: {words}") from error
        if lost := unheld(answer.get("Warnings") or (), spec):
            raise SandboxStartError(COMPONENT, f"Podman would not hold a limit: {lost[0]}", "See `xagent doctor`.")
        return str(answer["Id"])

    async def start(self, container: str) -> None:
        """Starts a container."""
        try:
            await self.call("start the sandbox", _post, self._client, f"containers/{container}/start")
        except APIError as error:
            raise SandboxStartError(COMPONENT, f"the service could not start it: {error.explanation}") from error

    async def state(self, container: str) -> Mapping[str, Any] | None:
        """What the service knows of a container's process; None where the container is gone.

        Raises:
            BackendError: The service does not answer.
        """
        try:
            found = await self.call(f"inspect {container[:12]}", _get, self._client, f"containers/{container}/json")
        except APIError:
            return None
        except SandboxStartError as error:
            # The status is 500 where it goes while it is looked at.
            if "no such container" in error.cause:
                return None
            raise
        state: Mapping[str, Any] = found["State"]
        return state

    async def remove(self, container: str) -> Removal:
        """Removes a container by force; asks again where Podman's own removal of one that has ended is in the way."""
        pauses = iter(_PAUSES)
        while True:
            try:
                await self.call(f"remove {container[:12]}", _delete, self._client, f"containers/{container}")
            except (APIError, SandboxStartError) as error:
                if isinstance(error, APIError) and error.status_code == 404:
                    return "gone"
                # "container state improper: stopped", with the status 500.
                if (pause := next(pauses, None)) is None:
                    words = str(error.explanation) if isinstance(error, APIError) else error.cause
                    raise BackendError(COMPONENT, f"the service could not remove {container}: {words}") from error
                await asyncio.sleep(pause)
            else:
                return "removed"

    async def sandboxes(self) -> Mapping[str, Mapping[str, str]]:
        """Lists containers in all states."""
        filters = json.dumps({"label": ["xagent-sandbox=true"]})
        found = await self.call(
            "list its containers", _get, self._client, "containers/json", {"all": "true", "filters": filters}
        )
        return {container["Id"]: container["Labels"] for container in found or ()}

    async def image(self, name: str) -> Image | None:
        """Looks for an image under this name, and under that of `docker.io` and `localhost`, as Podman does."""
        try:
            await self.call(f"inspect image {name}", _get, self._client, f"images/{quote(name)}/json")
        except APIError:
            return None
        return Image(name)

    async def pull(self, name: str, fix: str) -> None:
        """Pulls an image."""
        with self.pulling(name, fix):
            await self.call(f"pull {name}", _pull, self._client, name)

    def close(self) -> None:
        """Frees its connections, and its threads when their calls have ended."""
        self._client.close()
        super().close()


def _client(endpoint: Endpoint) -> APIClient:
    return APIClient(base_url=endpoint.url, version=_API, timeout=_HELLO_SECONDS, user_agent="xagent", max_pool_size=16)


def _wake(endpoint: Endpoint) -> None:
    if endpoint.source == DEFAULT:
        wake(endpoint)
    else:
        endpoint.check()


def _profile() -> Path:
    try:
        return write_profile(user_cache_path("xagent"))
    except OSError as error:
        raise BackendUnavailableError(
            COMPONENT,
            f"the list of system calls, which Podman reads from a file, cannot be written: {error}",
            "Set XDG_CACHE_HOME to a folder that can be written to.",
        ) from error


def _check(info: Mapping[str, Any], runtime: str | None) -> None:
    version = str(info["version"]["Version"])
    if tuple(int(part) for part in version.split(".")[:2]) < _OLDEST:
        needed = ".".join(map(str, _OLDEST))
        raise BackendUnavailableError(
            COMPONENT, f"this is Podman {version}, and {needed} is needed", f"Install Podman {needed} or newer."
        )
    if not info["host"]["security"]["seccompEnabled"]:
        raise BackendUnavailableError(
            COMPONENT,
            "Podman cannot filter system calls here, so sandboxes would not hold",
            "Use a kernel with CONFIG_SECCOMP_FILTER and a Podman built with seccomp.",
        )
    # One that is asked for with a container is not taken up, and nothing says so.
    name = info["host"]["ociRuntime"]["name"]
    if runtime not in (None, name):
        raise BackendUnavailableError(
            COMPONENT,
            f"Podman runs containers with {name}, and not with {runtime}",
            f'Write `runtime = "{runtime}"` into the table [engine] of containers.conf, and start the service again.',
        )


def _get(client: APIClient, path: str, params: Mapping[str, str] | None = None) -> Any:
    response = client.get(path, params=params)
    response.raise_for_status()
    return response.json()


def _post(client: APIClient, path: str, document: Mapping[str, Any] | None = None) -> Any:
    body = json.dumps(document) if document is not None else None
    response = client.post(path, data=body, headers={"Content-Type": "application/json"})
    response.raise_for_status()
    return response.json() if response.content else None


def _delete(client: APIClient, path: str) -> None:
    client.delete(path, params={"force": "true", "v": "true", "timeout": "0"}).raise_for_status()


def _pull(client: APIClient, name: str) -> None:
    response = client.post("images/pull", params={"reference": name}, stream=True, timeout=_PULL_SECONDS)
    response.raise_for_status()
    for line in response.iter_lines():
        if error := json.loads(line).get("error"):
            raise APIError(error, explanation=error)
