"""The contract of an agent's tool: it *is* a LangChain tool; only its registration is ours."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from langchain_core.tools import BaseTool

    from xagent_core.engine import Engine
    from xagent_core.workspace import Workspace

__all__ = ["ToolContext", "ToolRegistration"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ToolContext:
    """What a tool may use.

    Attributes:
        engine: Runs code.
        workspace: The files that tools share and are confined to; None where the caller gave none.
        options: The tool's own settings: the table `[tools.NAME]` of the configuration.
        shared: What the tools of one `get_tools` call have in common, such as a cache: a plugin keeps it here under a
            key of its own, which is best a class of its own.
    """

    engine: Engine
    workspace: Workspace | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    shared: MutableMapping[Any, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ToolRegistration:
    """Announces a tool.

    Attributes:
        name: The tool's name, as a model sees it.
        summary: One line.
        factory: Makes the tool; imports langchain-core when it is called.
        table: The table under `[tools]` in the configuration that its options come from, where several tools have
            one in common; by default the tool's name.
        needs_workspace: Whether it can do nothing without a workspace, so that it is left out where there is none.
        api_version: The version of the plugin interface that it was written for.
    """

    name: str
    summary: str
    factory: Callable[[ToolContext], BaseTool]
    table: str = ""
    needs_workspace: bool = False
    api_version: int = 1
