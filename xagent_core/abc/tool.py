"""The contract of an agent's tool: it *is* a LangChain tool; only its registration is ours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from langchain_core.tools import BaseTool

    from xagent_core.engine import Engine

__all__ = ["ToolContext", "ToolRegistration"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ToolContext:
    """What a tool may use.

    Attributes:
        engine: Runs code.
        workspace: The folder that file tools are confined to; None where the caller gave none.
        options: The tool's own settings.
    """

    engine: Engine
    workspace: Path | None = None
    options: Any = None


@dataclass(frozen=True, kw_only=True)
class ToolRegistration:
    """Announces a tool.

    Attributes:
        name: The tool's name, as a model sees it.
        summary: One line.
        factory: Makes the tool; imports langchain-core when it is called.
        api_version: The version of the plugin interface that it was written for.
    """

    name: str
    summary: str
    factory: Callable[[ToolContext], BaseTool]
    api_version: int = 1
