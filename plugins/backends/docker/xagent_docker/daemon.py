"""Calls one Docker daemon through the SDK."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any, Final, Self

from docker.api import APIClient
from docker.errors import APIError, DockerException
from docker.utils import version_lt
from requests.exceptions import RequestException

from xagent_core.abc.backend import Capabilities, SandboxSpec
from xagent_core.containers.advice import Advice, unavailable
from xagent_core.containers.images import Image
from xagent_core.containers.render import unheld
from xagent_core.containers.service import Removal, Service, ServiceChoice
from xagent_core.errors import BackendError, BackendUnavailableError, ImageNotFoundError, SandboxStartError
from xagent_docker.capabilities import capabilities_of
from xagent_docker.container import container_config
from xagent_docker.endpoint import COMPONENT, DockerEndpoint, find_endpoint

__all__ = ["Daemon"]

_OLDEST: Final = "1.41"  # Docker 20.10: private cgroup namespaces
_HELLO_SECONDS: Final = 8
_CALL_SECONDS: Final = 60
_FOREIGN: Final = (DockerException, RequestException, OSError)
_RUNTIME: Final = "Install that runtime and list it in daemon.json, or leave the option `runtime` out."
_SHELL: Final = "Use an image that has sh on its PATH."
_ADVICE: Final = Advice(
    component=COMPONENT,
    service="Docker daemon",
    start="Start it (`sudo systemctl start docker`, or `sudo service docker start`), or set DOCKER_HOST.",
    permit="Add the user to the socket's group (`sudo usermod -aG docker $USER`, then log in again), run a rootless "
    "daemon, or run as root.",
    certificates="Check the certificates in DOCKER_CERT_PATH, or those of the Docker context.",
    refusals={
        "unknown or invalid runtime": _RUNTIME,
        "unknown runtime": _RUNTIME,
        "executable file not found": _SHELL,
        'exec: "sh"': _SHELL,
        "no space left": "Free space on the daemon's disk: `docker system df` shows what takes it.",
    },
)


class Daemon(Service):
    """A daemon that answered, and can hold the policies that are no choice.

    Attributes:
        client: The SDK's client; its methods block, so they go through `call`.
        info: What `docker info` tells.
    """

    advice = _ADVICE
    foreign = _FOREIGN

    def __init__(
        self,
        endpoint: DockerEndpoint,
        choice: ServiceChoice,
        client: APIClient,
        info: Mapping[str, Any],
        pool: ThreadPoolExecutor,
    ) -> None:
        super().__init__(endpoint, choice, api=f"/v{client.api_version}", pool=pool)
        self.client = client
        self.info = info

    @classmethod
    def _open(cls, choice: ServiceChoice, pool: ThreadPoolExecutor) -> Self:
        endpoint, network = find_endpoint(choice.base_url, choice.environ), choice.network
        with ExitStack() as opened:
            try:
                endpoint.check()
                with _client(endpoint, _OLDEST) as first:
                    version = first.version(api_version=False)["ApiVersion"]
                client = opened.enter_context(_client(endpoint, version))
                info = client.info()
                _check(version, info, choice.runtime)
                networks = client.networks(names=[network]) if network else ()
            except _FOREIGN as error:
                raise unavailable(error, endpoint, _ADVICE) from error
            client.timeout = _CALL_SECONDS
            opened.pop_all()
        daemon = cls(endpoint, choice, client, info, pool)
        daemon.internet = any(found["Name"] == network for found in networks)
        return daemon

    def refusal(self, error: BaseException) -> str | None:
        """What the daemon says."""
        return str(error.explanation or error).strip() if isinstance(error, APIError) else None

    async def describe(self) -> tuple[str, str]:
        """Asks for its version."""
        version = str((await self.call("tell its state", self.client.info)).get("ServerVersion", ""))
        return version, f"Docker {version} at {self.endpoint.url}"

    def capabilities(self) -> Capabilities:
        """What `docker info` says that the kernel holds."""
        return capabilities_of(self.info, internet=self.internet)

    async def create(self, spec: SandboxSpec, image: Image, *, name: str, labels: Mapping[str, str]) -> str:
        """Creates a container, and takes a warning that a limit was dropped for an error."""
        config = container_config(
            spec,
            image=image.name,
            volumes=image.volumes,
            labels=labels,
            runtime=self.choice.runtime,
            network=self.choice.network,
        )
        try:
            answer = await self.call("create the sandbox", self.client.create_container_from_config, config, name)
        except APIError as error:
            if "no such image" in str(error.explanation).lower():
                raise ImageNotFoundError(COMPONENT, f"image {image.name} was removed") from error
            raise SandboxStartError(COMPONENT, f"the daemon could not create it: {error.explanation}") from error
        if lost := unheld(answer.get("Warnings") or (), spec):
            raise SandboxStartError(COMPONENT, f"the daemon would not hold a limit: {lost[0]}", "See `xagent doctor`.")
        return str(answer["Id"])

    async def start(self, container: str) -> None:
        """Starts a container."""
        try:
            await self.call("start the sandbox", self.client.start, container)
        except APIError as error:
            raise SandboxStartError(COMPONENT, f"the daemon could not start it: {error.explanation}") from error

    async def remove(self, container: str) -> Removal:
        """Removes a container by force, or leaves it to the removal that the daemon began by itself."""
        try:
            await self.call(f"remove {container[:12]}", self.client.remove_container, container, force=True, v=True)
        except APIError as error:
            # 409: "removal of container ... is already in progress", since it had ended by itself.
            if "already in progress" in str(error.explanation):
                return "ending"
            if error.status_code == 404:
                return "gone"
            cause = f"the daemon could not remove {container}: {error.explanation}"
            raise BackendError(COMPONENT, cause) from error
        return "removed"

    async def sandboxes(self) -> Mapping[str, Mapping[str, str]]:
        """Lists containers in all states."""
        found = await self.call(
            "list its containers", self.client.containers, all=True, filters={"label": "xagent-sandbox=true"}
        )
        return {container["Id"]: container["Labels"] for container in found}

    async def image(self, name: str) -> Image | None:
        """Inspects an image."""
        try:
            found = await self.call(f"inspect image {name}", self.client.inspect_image, name)
        except APIError:
            return None
        return Image(name, tuple((found.get("Config") or {}).get("Volumes") or ()))

    async def pull(self, name: str, fix: str) -> None:
        """Pulls an image, and shows how far it is."""
        # Rich is loaded here only: most callers have their images.
        from xagent_docker.images.progress import PullBar
        from xagent_docker.images.pull import pull_image

        with PullBar() as bar:
            await pull_image(self, name, fix, bar.image(name).line)

    def close(self) -> None:
        """Frees its connections, and its threads when their calls have ended."""
        self.client.close()
        super().close()


def _client(endpoint: DockerEndpoint, version: str) -> APIClient:
    client = APIClient(
        base_url=endpoint.url,
        version=version,
        tls=endpoint.tls or False,
        # That of the first questions; a start may take longer on a busy machine.
        timeout=_HELLO_SECONDS,
        user_agent="xagent",
    )
    # Otherwise REQUESTS_CA_BUNDLE goes before the daemon's own certificates.
    client.trust_env = False
    return client


def _check(version: str, info: Mapping[str, Any], runtime: str | None) -> None:
    if version_lt(version, _OLDEST):
        raise BackendUnavailableError(
            COMPONENT, f"the daemon speaks API {version}, and {_OLDEST} is needed", "Install Docker 20.10 or newer."
        )
    if info.get("OSType") != "linux":
        raise BackendUnavailableError(
            COMPONENT, f"the daemon runs {info.get('OSType')} containers", "Switch it to Linux containers."
        )
    if not any("seccomp" in option for option in info.get("SecurityOptions") or ()):
        raise BackendUnavailableError(
            COMPONENT,
            "the daemon cannot filter system calls, so sandboxes would not hold",
            "Use a kernel with CONFIG_SECCOMP_FILTER and a Docker built with seccomp.",
        )
    runtimes = info.get("Runtimes") or {}
    if runtime and runtime not in runtimes:
        raise BackendUnavailableError(
            COMPONENT,
            f"the daemon has no runtime {runtime!r} (it has {', '.join(sorted(runtimes))})",
            "Add it to the daemon's daemon.json, or mend the option `runtime`.",
        )
