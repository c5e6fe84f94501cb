"""Registers the queue `celery`; nothing heavy is imported until it is used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from xagent_core import Carrier, QueueRegistration, hookimpl


def _carrier(options: Mapping[str, Any]) -> Carrier:
    from xagent_queue_celery.carrier import CeleryCarrier

    return CeleryCarrier(**options)


@hookimpl
def xagent_register_queues() -> list[QueueRegistration]:
    """The queue `celery`."""
    options = {"url": str, "store": str, "longest": float}
    summary = "Celery, on Redis or RabbitMQ"
    return [QueueRegistration(name="celery", summary=summary, factory=_carrier, options=options)]
