"""What a user is told where a container engine does not do what was asked: why, and what helps."""

from __future__ import annotations

import socket
import ssl
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from xagent_core.containers.endpoint import Endpoint
from xagent_core.errors import BackendPermissionError, BackendUnavailableError

__all__ = ["Advice", "unavailable", "without_registry"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Advice:
    """What is said to a user of one engine when it does not work.

    Attributes:
        component: The backend's name.
        service: What the engine's users call it: `Docker daemon`.
        start: How it is started or found.
        permit: What a user does who may not use it.
        certificates: Where its certificates are.
        refusals: Advice by words of the service, in lower case.
    """

    component: str
    service: str
    start: str
    permit: str
    certificates: str = ""
    refusals: Mapping[str, str]


def without_registry(image: str, backend: str, *, builds: Sequence[str] = ()) -> str:
    """What somebody can do who cannot have an image pulled.

    Args:
        image: Its name; empty where there is none that could be pulled.
        backend: The backend's name, which is that of its engine's command.
        builds: The languages for which `xagent images build` makes another one that takes its place.

    Returns:
        A clause for the end of a sentence.
    """
    if builds:
        return f"run `xagent images build {' '.join(builds)} --backend {backend}`, which needs no registry"
    by_hand = f"bring it there by hand (`{backend} pull {image}`, or `{backend} load` from a file), " if image else ""
    return (
        f"{by_hand}name {'another' if image else 'an'} image in the table [backends.{backend}.images], or use "
        "`--backend bubblewrap`, which takes the programs of this machine"
    )


def unavailable(error: BaseException, endpoint: Endpoint, advice: Advice) -> BackendUnavailableError:
    """Why a service could not be reached at all.

    Args:
        error: What was raised by the SDK, its HTTP library, or the kernel.
        endpoint: The service's address.
        advice: The engine's words.
    """
    where, name, service = f"{endpoint.url} (from {endpoint.source})", advice.component, advice.service
    _close_sockets(error)
    for cause in _causes(error):
        if isinstance(cause, PermissionError):
            return BackendPermissionError(name, f"this user may not use {where}", advice.permit)
        if isinstance(cause, FileNotFoundError):
            return BackendUnavailableError(
                name,
                f"no {service} runs: there is no socket at {where}",
                f"Install {service.partition(' ')[0]}. {advice.start}",
            )
        if isinstance(cause, ConnectionRefusedError):
            return BackendUnavailableError(name, f"no {service} listens at {where}", advice.start)
        if isinstance(cause, ssl.SSLError):
            return BackendUnavailableError(
                name, f"no secure connection to {where}: {cause.reason or cause}", advice.certificates
            )
        if isinstance(cause, TimeoutError):
            return BackendUnavailableError(
                name, f"the {service} at {where} does not answer in time", "See the log of the service."
            )
    return BackendUnavailableError(name, f"the {service} at {where} cannot be used: {error}", advice.start)


def _close_sockets(error: BaseException) -> None:
    """Closes what an SDK's `connect` leaves open when it is refused: an error that is kept would keep them, too."""
    for cause in _causes(error):
        for frame, _ in traceback.walk_tb(cause.__traceback__):
            sock = frame.f_locals.get("sock")
            if isinstance(sock, socket.socket):
                sock.close()


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
