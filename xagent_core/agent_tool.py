"""What agent tools have in common: errors that a model can act on, and calls from any thread and event loop.

A tool may be any `langchain_core.tools.BaseTool`; these two save writing the same doors again. The module needs
langchain-core, which the extra `tools` brings.
"""

from __future__ import annotations

import contextlib
from abc import abstractmethod
from collections.abc import Generator
from typing import Any, Final

from langchain_core.tools import BaseTool, ToolException
from pydantic import BaseModel, Field, SkipValidation, ValidationError

from xagent_core.bridge import await_in, wait_in
from xagent_core.engine import Engine
from xagent_core.errors import XAgentError

__all__ = ["OUTPUT_EVENT", "AgentTool", "EngineTool", "explain", "tool_errors"]

OUTPUT_EVENT: Final = "xagent_output"
"""The custom event that tells of output as it comes: `{"stream": "stdout", "data": "...", "phase": "run"}`."""

Explainable = Any  # pydantic's error, or that of its old interface, which LangChain still allows


@contextlib.contextmanager
def tool_errors() -> Generator[None]:
    """Makes of an `XAgentError` a `ToolException`, which an agent shows to its model.

    Raises:
        ToolException: With the error's own text: who failed, why, and what to do.
    """
    try:
        yield
    except XAgentError as error:
        raise ToolException(str(error)) from error


def explain(error: Explainable) -> str:
    """What is wrong with a tool's arguments, one line each, in words that a model can act on."""
    if not isinstance(error, ValidationError):
        return f"invalid arguments: {error}"
    lines = [f"{'.'.join(map(str, e['loc'])) or 'arguments'}: {e['msg']}" for e in error.errors(include_url=False)]
    return "\n".join(["invalid arguments", *lines])


class AgentTool(BaseTool):
    """A tool that does blocking work, such as on files; asynchronous callers have it run in a thread.

    A subclass sets `name`, `description`, `args_schema` and, where there is more than text, `response_format`, and
    writes `work`.
    """

    handle_tool_error: Any = True
    handle_validation_error: Any = explain

    @abstractmethod
    def work(self, *args: Any, **arguments: Any) -> Any:
        """Does what the tool is for.

        Args:
            *args: None; that it is here lets a subclass name its arguments.
            **arguments: The checked arguments, those that were left out included.

        Returns:
            What the model gets, or that and an artifact, as `response_format` says. A dictionary becomes JSON.

        Raises:
            XAgentError: The model gets its text.
            ToolException: The same.
        """

    def _run(self, *args: Any, **arguments: Any) -> Any:
        with tool_errors():
            return self.work(**self._named(args, arguments))

    def _named(self, args: tuple[Any, ...], arguments: dict[str, Any]) -> dict[str, Any]:
        """LangChain passes a plain string on by position, and without defaults."""
        schema = self.args_schema
        if not args or not isinstance(schema, type) or not issubclass(schema, BaseModel):
            return arguments
        checked = schema.model_validate(dict(zip(schema.model_fields, args, strict=False)))
        return {name: getattr(checked, name) for name in schema.model_fields}


class EngineTool(AgentTool):
    """A tool that uses the engine, and so works in the event loop that the engine belongs to.

    `ainvoke` can be called in any event loop. `invoke` can be called in any thread but the one of that loop, where it
    would wait for itself: there it fails, and says so.
    """

    engine: SkipValidation[Engine] = Field(exclude=True, repr=False)

    @abstractmethod
    async def work(self, *args: Any, **arguments: Any) -> Any:
        """As `AgentTool.work`, in the engine's event loop."""

    def _run(self, *args: Any, **arguments: Any) -> Any:
        with tool_errors():
            loop = self.engine.loop
            return wait_in(loop, self.work(**self._named(args, arguments)))

    async def _arun(self, *args: Any, **arguments: Any) -> Any:
        with tool_errors():
            loop = self.engine.loop
            return await await_in(loop, self.work(**self._named(args, arguments)))
