"""Whether this process is traced: a command that runs one program does not pay for what nobody asked for."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xagent_opentelemetry.tracing import Tracing

__all__ = ["tracing"]


def tracing() -> Tracing | None:
    """The spans of this process, if it has set up OpenTelemetry itself, or the environment asks for an exporter."""
    if "opentelemetry.sdk.trace" not in sys.modules and os.environ.get("OTEL_TRACES_EXPORTER", "none") == "none":
        return None
    from xagent_opentelemetry.tracing import process_tracing

    return process_tracing()
