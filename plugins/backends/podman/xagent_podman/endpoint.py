"""Finds Podman's service as Podman's own tools do, and starts it where none runs."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from podman.domain.config import PodmanConfig

from xagent_core.containers.endpoint import Endpoint
from xagent_core.errors import BackendUnavailableError

__all__ = ["COMPONENT", "DEFAULT", "find_endpoint", "wake"]

COMPONENT: Final = "podman"
"""What errors call this backend."""
DEFAULT: Final = "the default"
"""The source of an endpoint that nobody named; only there a service is started."""

# A service that is started here ends by itself that long after its last client; open streams are clients, too.
_IDLE_SECONDS: Final = 5
_START_SECONDS: Final = 8.0


def find_endpoint(base_url: str | None, environ: Mapping[str, str]) -> Endpoint:
    """The service's address: `base_url`, else `CONTAINER_HOST`, else a connection, else the default socket.

    `CONTAINER_CONNECTION` names a connection of `podman system connection`; without it the default connection
    counts, unless it goes over ssh: the `podman` command of this machine does not follow that one either. It reads
    files: not for the event loop.

    Args:
        base_url: The backend's option of that name.
        environ: The environment.

    Returns:
        The address; whether anything answers there is not known.

    Raises:
        BackendUnavailableError: The address is of a kind that is not supported, or the connection does not exist.
    """
    for url, source in ((base_url, "the option base_url"), (environ.get("CONTAINER_HOST"), "CONTAINER_HOST")):
        if url:
            return _endpoint(url, source)
    name = environ.get("CONTAINER_CONNECTION", "")
    try:
        active, connections = _connections(environ.get("CONTAINERS_CONF") or None)
    except (AttributeError, OSError, ValueError) as error:
        raise BackendUnavailableError(
            COMPONENT, f"Podman's configuration cannot be read: {error}", "Mend containers.conf, or CONTAINERS_CONF."
        ) from error
    if name and name not in connections:
        raise BackendUnavailableError(
            COMPONENT,
            f"there is no connection {name!r}",
            "See `podman system connection list`, or CONTAINER_CONNECTION.",
        )
    url = connections.get(name or active, "")
    if url and (name or not url.startswith("ssh://")):
        return _endpoint(url, f"connection {name or active}")
    return Endpoint(url=f"unix://{_default_socket(environ)}", source=DEFAULT)


def wake(endpoint: Endpoint) -> None:
    """Starts the service where none answers; blocking. One process does it, others wait for it.

    Raises:
        OSError: Nothing answers, and nothing could be started.
    """
    try:
        endpoint.check()
    except (FileNotFoundError, ConnectionRefusedError):
        if shutil.which("podman") is None:
            raise
    else:
        return
    folder = Path(endpoint.url.removeprefix("unix://")).parent
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with suppress(FileNotFoundError, ConnectionRefusedError):
            endpoint.check()
            return
        # In a session and a folder of its own, since it serves others, too, and outlives this process by a few
        # seconds; and where it stands, conmon leaves an empty file `oom` when a container runs out of memory.
        command = ["setsid", "--fork", "podman", "system", "service", f"--time={_IDLE_SECONDS}", endpoint.url]
        null = subprocess.DEVNULL
        subprocess.run(command, cwd=folder, stdin=null, stdout=null, stderr=null, check=False)
        _await(endpoint)
    finally:
        os.close(lock)


def _await(endpoint: Endpoint) -> None:
    end = time.monotonic() + _START_SECONDS
    while True:
        try:
            return endpoint.check()
        except (FileNotFoundError, ConnectionRefusedError):
            if time.monotonic() > end:
                raise
        time.sleep(0.02)


def _connections(path: str | None) -> tuple[str, dict[str, str]]:
    """The name of the default connection, and the address of each."""
    config: dict[str, Any] = PodmanConfig(path).attrs
    engine, listed = config.get("engine") or {}, config.get("Connection") or {}
    found = {**(engine.get("service_destinations") or {}), **(listed.get("Connections") or {})}
    active = listed.get("Default") or engine.get("active_service") or ""
    return active, {name: entry.get("URI") or entry.get("uri") or "" for name, entry in found.items()}


def _default_socket(environ: Mapping[str, str]) -> Path:
    """Where `podman system service` listens if it is not told otherwise."""
    user = os.geteuid()
    if user == 0:
        return Path("/run/podman/podman.sock")
    folder = Path(environ.get("XDG_RUNTIME_DIR") or f"/run/user/{user}")
    return (folder if folder.is_dir() else Path(f"/tmp/podman-run-{user}")) / "podman/podman.sock"  # noqa: S108


def _endpoint(url: str, source: str) -> Endpoint:
    scheme, _, rest = url.partition("://")
    if scheme == "unix":
        return Endpoint(url=f"unix:///{rest.lstrip('/')}", source=source)
    if scheme in ("tcp", "http"):
        return Endpoint(url=f"http://{rest}", source=source)
    raise BackendUnavailableError(
        COMPONENT,
        f"{url} (from {source}) is not supported: sandboxes need a plain socket",
        "Run xagent on that machine.",
    )
