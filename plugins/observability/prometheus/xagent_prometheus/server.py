"""Serves the metrics of a process to Prometheus."""

from __future__ import annotations

import functools
import logging
import re
from typing import Final

from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest

from xagent_core.errors import ConfigError
from xagent_core.queueing.health import Answer, HealthServer

__all__ = ["serve_process"]

logger = logging.getLogger(__name__)

_RANGE: Final = re.compile(r"(?:(?P<host>.*):)?(?P<first>\d+)(?:-(?P<last>\d+))?")


@functools.cache
def serve_process(address: str) -> int:
    """Serves the metrics of this process under `/metrics` until it ends; asked again, it is the same server.

    Args:
        address: `HOST:PORT`, `HOST:FIRST-LAST` for the first free port of a range, or a port alone for the loopback
            interface.

    Returns:
        The port.

    Raises:
        ConfigError: The address cannot be read, or is taken.
    """
    found = _RANGE.fullmatch(address)
    if found is None:
        raise ConfigError("metrics", f"{address!r} is no address", "Write HOST:PORT, or HOST:FIRST-LAST.")
    host, first = found["host"] or "127.0.0.1", int(found["first"])
    taken = ConfigError("metrics", f"{address!r} names no port", "Write FIRST-LAST in this order.")
    for number in range(first, int(found["last"] or first) + 1):
        try:
            port = HealthServer(f"{host}:{number}", {"/metrics": _exposition}).__enter__().port
        except ConfigError as error:
            taken = error
        else:
            logger.info("metrics are served on port %d", port)
            return port
    raise taken


def _exposition() -> Answer:
    return Answer(status=200, body=generate_latest(REGISTRY).decode(), content_type=CONTENT_TYPE_LATEST)
