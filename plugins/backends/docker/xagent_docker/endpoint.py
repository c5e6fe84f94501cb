"""Finds the daemon's address as the `docker` command does."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from docker.constants import DEFAULT_UNIX_SOCKET
from docker.context import ContextAPI
from docker.errors import DockerException
from docker.tls import TLSConfig
from docker.utils import parse_host
from docker.utils.utils import kwargs_from_env

from xagent_core.containers.endpoint import Endpoint
from xagent_core.errors import BackendUnavailableError

__all__ = ["COMPONENT", "DockerEndpoint", "find_endpoint"]

COMPONENT: Final = "docker"
"""What errors call this backend."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DockerEndpoint(Endpoint):
    """Where the daemon listens.

    Attributes:
        tls: The SDK's TLS settings; None without TLS.
    """

    tls: TLSConfig | None = None


def find_endpoint(base_url: str | None, environ: Mapping[str, str]) -> DockerEndpoint:
    """The daemon's address: `base_url`, else `DOCKER_HOST`, else the context, else the default socket.

    It reads files: not for the event loop.

    Args:
        base_url: The backend's option of that name.
        environ: The environment.

    Returns:
        The address; whether anything answers there is not known.

    Raises:
        BackendUnavailableError: The address is malformed or of a kind that is not supported, the context does not
            exist, or its certificates do not.
    """
    try:
        return _find(base_url, environ)
    except (DockerException, OSError, ValueError) as error:
        raise BackendUnavailableError(
            COMPONENT,
            f"the daemon's address cannot be used: {error}",
            "Mend DOCKER_HOST, DOCKER_CERT_PATH, or the Docker context.",
        ) from error


def _find(base_url: str | None, environ: Mapping[str, str]) -> DockerEndpoint:
    # The SDK takes an empty environment for none given.
    from_env: Mapping[str, Any] = kwargs_from_env(dict(environ)) if environ else {}
    if base_url or "base_url" in from_env:
        source = "the option base_url" if base_url else "DOCKER_HOST"
        return _endpoint(base_url or from_env["base_url"], source, from_env.get("tls"))
    # An empty DOCKER_CONTEXT counts as unset, as it does for the docker command.
    context = ContextAPI.get_context(environ.get("DOCKER_CONTEXT") or None)
    if context is None:
        raise ValueError("its context does not exist (see `docker context ls`)")
    if context.Name == "default" or not context.Host:
        return _endpoint(DEFAULT_UNIX_SOCKET, "the default", None)
    return _endpoint(context.Host, f"context {context.Name}", context.TLSConfig)


def _endpoint(host: str, source: str, tls: TLSConfig | None) -> DockerEndpoint:
    if host.startswith(("ssh://", "npipe://")):
        raise BackendUnavailableError(
            COMPONENT,
            f"{host} (from {source}) is not supported: sandboxes need a plain socket or TLS",
            "Forward the socket with `ssh -nNT -L /tmp/docker.sock:/var/run/docker.sock HOST`, and set "
            "DOCKER_HOST=unix:///tmp/docker.sock.",
        )
    url = str(parse_host(host, tls=tls is not None)).replace("http+unix://", "unix://")
    return DockerEndpoint(url=url, source=source, tls=tls, context=_ssl_context(tls) if tls else None)


def _ssl_context(tls: TLSConfig) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=tls.ca_cert if tls.ca_cert and Path(tls.ca_cert).is_file() else None)
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if tls.cert:
        context.load_cert_chain(*tls.cert)
    return context
