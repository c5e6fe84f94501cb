"""The `xagent` command."""

from __future__ import annotations

__all__ = ["main"]


def main() -> None:
    """Runs the command line of this process and exits with its status."""
    from xagent_core.cli.app import make_app

    make_app()(prog_name="xagent")
