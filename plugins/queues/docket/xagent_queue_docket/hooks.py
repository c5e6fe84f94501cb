"""Registers the queue `docket`; nothing heavy is imported until it is used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from xagent_core import Carrier, QueueRegistration, hookimpl


def _carrier(options: Mapping[str, Any]) -> Carrier:
    from xagent_queue_docket.carrier import DocketCarrier

    return DocketCarrier(**options)


@hookimpl
def xagent_register_queues() -> list[QueueRegistration]:
    """The queue `docket`."""
    summary = "docket: in one process (memory://), or across machines by Redis"
    return [QueueRegistration(name="docket", summary=summary, factory=_carrier, options={"url": str})]
