"""Calls one Docker daemon through the SDK, whose blocking calls run in a few threads of their own."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, ParamSpec, TypeVar

from docker.api import APIClient
from docker.errors import APIError
from docker.utils import version_lt

from xagent_core.errors import BackendUnavailableError
from xagent_docker.endpoint import COMPONENT, Endpoint, find_endpoint
from xagent_docker.errors import FOREIGN, api_error, unavailable

__all__ = ["Daemon"]

P = ParamSpec("P")
T = TypeVar("T")

_OLDEST: Final = "1.41"  # Docker 20.10: private cgroup namespaces
_HELLO_SECONDS: Final = 4
_CALL_SECONDS: Final = 60
# Starts and kills of sandboxes wait for the daemon, which does about as many at once on a few cores.
_THREADS: Final = 8


class Daemon:
    """A daemon that answered, and can hold the policies that are no choice.

    Attributes:
        endpoint: Its address.
        client: The SDK's client; its methods block, so they go through `call`.
        version: Of its API, as the SDK and the daemon have agreed.
        info: What `docker info` tells.
    """

    def __init__(
        self, endpoint: Endpoint, client: APIClient, info: Mapping[str, Any], pool: ThreadPoolExecutor
    ) -> None:
        self.endpoint = endpoint
        self.client = client
        self.version: str = client.api_version
        self.info = info
        self._pool = pool

    @classmethod
    async def connect(cls, base_url: str | None, environ: Mapping[str, str], *, runtime: str | None) -> Daemon:
        """Finds the daemon and asks it who it is.

        Args:
            base_url: Its address, if it is not to be looked for.
            environ: The environment.
            runtime: The OCI runtime that it must have.

        Raises:
            BackendUnavailableError: It does not answer, or cannot hold sandboxes.
        """
        pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="xagent-docker")
        loop = asyncio.get_running_loop()
        try:
            endpoint = await loop.run_in_executor(pool, find_endpoint, base_url, environ)
            client, info = await loop.run_in_executor(pool, _open, endpoint)
            try:
                _check(client.api_version, info, runtime)
            except BackendUnavailableError:
                client.close()
                raise
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        return cls(endpoint, client, info, pool)

    async def call(self, doing: str, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs a method of `client` in a thread. A call that was begun ends, whether or not somebody waits for it.

        Args:
            doing: What is asked of the daemon, for the error: `the daemon could not DOING`.
            function: The method.
            *args: Its arguments.
            **kwargs: The same.

        Raises:
            docker.errors.NotFound: There is no such thing: only the caller knows what that means.
            SandboxStartError: The daemon refused.
            BackendUnavailableError: It does not answer any more.
        """
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._pool, functools.partial(function, *args, **kwargs))
        except FOREIGN as error:
            if isinstance(error, APIError) and error.status_code in (404, 409):
                raise
            raise api_error(error, self.endpoint, doing) from error

    def close(self) -> None:
        """Frees its connections, and its threads when their calls have ended."""
        self.client.close()
        self._pool.shutdown(wait=False, cancel_futures=True)


def _open(endpoint: Endpoint) -> tuple[APIClient, Mapping[str, Any]]:
    try:
        endpoint.check()
        with _client(endpoint, _OLDEST) as first:
            version = first.version(api_version=False)["ApiVersion"]
        client = _client(endpoint, version)
        info = client.info()
    except FOREIGN as error:
        raise unavailable(error, endpoint) from error
    client.timeout = _CALL_SECONDS
    return client, info


def _client(endpoint: Endpoint, version: str) -> APIClient:
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
