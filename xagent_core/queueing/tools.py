"""Makes the tool calls of a queue; it needs langchain-core."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

from langchain_core.callbacks import AsyncCallbackHandler
from langchain_core.messages import ToolMessage
from langchain_core.tools import BaseTool, ToolException
from pydantic import ValidationError
from pydantic_core import to_jsonable_python

from xagent_core.abc.queue import ToolResult
from xagent_core.agent_tool import OUTPUT_EVENT, explain
from xagent_core.errors import InvalidRequestError, XAgentError
from xagent_core.queueing.payload import decode
from xagent_core.types import OutputEvent

__all__ = ["invoke"]

Put = Callable[[OutputEvent], Awaitable[None]]


async def invoke(tool: BaseTool, arguments: Mapping[str, Any], put: Put) -> ToolResult:
    """Calls a tool.

    Args:
        tool: The tool.
        arguments: What it is called with.
        put: Takes the output of programs as it comes.

    Returns:
        What came of it. That the tool fails, as it says itself, or finds its arguments invalid, is a result, too.

    Raises:
        InvalidRequestError: The result cannot be JSON.
        Exception: The tool fails in a way that it does not tell of.
    """
    asked = {"type": "tool_call", "id": tool.name, "name": tool.name, "args": dict(arguments)}
    try:
        message = await tool.ainvoke(asked, config={"callbacks": [_Output(put)]})
    except ValidationError as error:
        return ToolResult(content=explain(error), status="error")
    # How far it came is not known, whatever an error says of a sandbox: it must not be called again by itself.
    except (ToolException, XAgentError) as error:
        return ToolResult(content=str(error), status="error")
    if not isinstance(message, ToolMessage):  # a tool may give back what it likes
        return ToolResult(content=str(message))
    try:
        artifact = to_jsonable_python(message.artifact)
    except ValueError as error:
        raise InvalidRequestError(f"tool {tool.name}", f"its artifact cannot be JSON: {error}") from error
    return ToolResult(content=message.content, artifact=artifact, status=message.status)


class _Output(AsyncCallbackHandler):
    """Passes the output of programs on; what it raises where that is malformed, LangChain logs."""

    def __init__(self, put: Put) -> None:
        self._put = put

    async def on_custom_event(self, name: str, data: Any, **_more: Any) -> None:
        if name == OUTPUT_EVENT:
            event = decode(OutputEvent, json.dumps(data))
            await self._put(replace(event, raw=event.data.encode()))
