"""The `xagent` command."""

from __future__ import annotations

import traceback

__all__ = ["main"]

XAGENT_FAILED = 125
"""Exit status when xagent or the backend failed, as opposed to the program (as container engines have it)."""


def main() -> None:
    """Runs the command line of this process and exits with its status."""
    from xagent_core.cli.app import make_app

    try:
        make_app()(prog_name="xagent")
    except Exception:
        # A bug here must not exit with 1, which `xagent run` promises to be the program's own status.
        traceback.print_exc()
        raise SystemExit(XAGENT_FAILED) from None
