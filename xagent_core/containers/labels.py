"""The labels that a container carries, for the reaper: who made it, and until when it can be needed."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final

from xagent_core.owner import Owner

__all__ = ["labels_of", "why_removable"]

# The longest job that the limits allow, and a day for standing by. Only owners on other hosts are judged by it.
_LIFETIME_SECONDS: Final = 8 * 86400


def labels_of(owner: Owner, *, lifetime: int = _LIFETIME_SECONDS) -> dict[str, str]:
    """The labels of a container that the owner starts now.

    Args:
        owner: This process.
        lifetime: Seconds after which nobody needs the container any more.

    Returns:
        The labels.
    """
    return {
        "xagent-sandbox": "true",
        "xagent-owner": str(owner),
        "xagent-deadline": str(int(time.time()) + lifetime),
    }


def why_removable(labels: Mapping[str, str], *, seen_from: Owner) -> str:
    """Why a container with these labels can go; empty where it must stay.

    Args:
        labels: The container's.
        seen_from: This process.

    Returns:
        The reason, for a reader.
    """
    owner = Owner.parse(labels.get("xagent-owner", ""))
    state = "unknown" if owner is None else owner.state(seen_from=seen_from)
    if owner is not None and state == "dead":
        return f"its owner, process {owner.pid}, is dead"
    deadline = labels.get("xagent-deadline", "")
    if state == "unknown" and deadline.isdecimal() and int(deadline) < time.time():
        return "its deadline has passed"
    return ""
