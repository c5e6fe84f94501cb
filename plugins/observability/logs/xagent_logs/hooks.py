"""Turns JSON on where the environment asks for it."""

from __future__ import annotations

import os

from xagent_core import hookimpl


@hookimpl
def xagent_process_started() -> None:
    """With `XAGENT_LOG_FORMAT=json`, every log record of this process becomes a line of JSON."""
    if os.environ.get("XAGENT_LOG_FORMAT") == "json":
        from xagent_logs.formatting import use_json

        use_json()
