"""The contract of a command: a Typer application that the `xagent` command mounts under a name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import typer

__all__ = ["CommandRegistration"]


@dataclass(frozen=True, kw_only=True)
class CommandRegistration:
    """Announces a command of the `xagent` command line.

    Attributes:
        name: What users type after `xagent`.
        summary: One line for `xagent --help`, which shows it without calling the factory.
        factory: Makes the application when the command is used.
        api_version: The version of the plugin interface that it was written for.
    """

    name: str
    summary: str
    factory: Callable[[], typer.Typer]
    api_version: int = 1
