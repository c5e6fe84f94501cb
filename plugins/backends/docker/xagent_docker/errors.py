"""Turns what the SDK, its HTTP library and the kernel raise into xagent's errors: no other leaves the backend."""

from __future__ import annotations

import socket
import ssl
import traceback
from collections.abc import Iterator

from docker.errors import APIError, DockerException
from requests.exceptions import RequestException, Timeout

from xagent_core.errors import BackendError, BackendPermissionError, BackendUnavailableError, SandboxStartError
from xagent_docker.endpoint import COMPONENT, Endpoint

__all__ = ["FOREIGN", "api_error", "unavailable"]

FOREIGN = (DockerException, RequestException, OSError)
"""All that a call of the SDK can raise."""

_START = "Start it (`sudo systemctl start docker`, or `sudo service docker start`), or set DOCKER_HOST."


def unavailable(error: BaseException, endpoint: Endpoint) -> BackendUnavailableError:
    """Why the daemon could not be reached at all."""
    where = f"{endpoint.url} (from {endpoint.source})"
    _close_sockets(error)
    for cause in _causes(error):
        if isinstance(cause, PermissionError):
            return BackendPermissionError(
                COMPONENT,
                f"this user may not use {where}",
                "Add the user to the socket's group (`sudo usermod -aG docker $USER`, then log in again), run a "
                "rootless daemon, or run as root.",
            )
        if isinstance(cause, FileNotFoundError):
            return BackendUnavailableError(
                COMPONENT, f"no Docker daemon runs: there is no socket at {where}", f"Install Docker. {_START}"
            )
        if isinstance(cause, ConnectionRefusedError):
            return BackendUnavailableError(COMPONENT, f"no Docker daemon listens at {where}", _START)
        if isinstance(cause, ssl.SSLError):
            return BackendUnavailableError(
                COMPONENT,
                f"no secure connection to {where}: {cause.reason or cause}",
                "Check the certificates in DOCKER_CERT_PATH, or those of the Docker context.",
            )
        if isinstance(cause, Timeout | TimeoutError):
            return BackendUnavailableError(
                COMPONENT, f"the Docker daemon at {where} does not answer in time", "See the daemon's log."
            )
    return BackendUnavailableError(COMPONENT, f"the Docker daemon at {where} cannot be used: {error}", _START)


def api_error(error: BaseException, endpoint: Endpoint, doing: str) -> BackendError:
    """Why the daemon did not do something.

    Args:
        error: What was raised.
        endpoint: The daemon's address.
        doing: What was asked of it, as in `it could not DOING`.

    Returns:
        A `SandboxStartError` with the daemon's own words, or a `BackendUnavailableError` if it did not answer.
    """
    if isinstance(error, APIError):
        words = str(error.explanation or error).strip()
        return SandboxStartError(COMPONENT, f"the daemon could not {doing}: {words}", _advice(words))
    return unavailable(error, endpoint)


def _close_sockets(error: BaseException) -> None:
    """Closes what the SDK's `connect` leaves open when it is refused: an error that is kept would keep them, too."""
    for cause in _causes(error):
        for frame, _ in traceback.walk_tb(cause.__traceback__):
            sock = frame.f_locals.get("sock")
            if isinstance(sock, socket.socket):
                sock.close()


def _advice(words: str) -> str:
    text = words.lower()
    if "unknown or invalid runtime" in text or "unknown runtime" in text:
        return "Install that runtime and list it in the daemon's daemon.json, or leave the option `runtime` out."
    if "executable file not found" in text or 'exec: "sh"' in text:
        return "Use an image that has sh on its PATH."
    if "no space left" in text:
        return "Free space on the daemon's disk: `docker system df` shows what takes it."
    if "network" in text and "not found" in text:
        return "Create that network, or mend the option `network`."
    return ""


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and all that caused it: the HTTP libraries hide causes among arguments."""
    seen: set[int] = set()
    stack: list[BaseException] = [error]
    while stack:
        current = stack.pop()
        if id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        linked = (current.__cause__, current.__context__, getattr(current, "reason", None), *current.args)
        stack.extend(link for link in linked if isinstance(link, BaseException))
