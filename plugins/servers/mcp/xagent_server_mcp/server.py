"""The MCP server: lists the tools and calls them, whatever carries the messages."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final
from weakref import WeakKeyDictionary

from langchain_core.messages import ToolMessage
from langchain_core.tools import BaseTool, ToolException
from mcp import types
from mcp.server.lowlevel import Server
from mcp.server.session import ServerSession
from pydantic import TypeAdapter

from xagent_core import __version__
from xagent_server_mcp.content import result_of
from xagent_server_mcp.progress import Progress

__all__ = ["make_server"]

_QUIETER: Final = ("notice", "warning", "error", "critical", "alert", "emergency")


def make_server(tools: Iterable[BaseTool]) -> Server[Any, Any]:
    """A server of these tools.

    Args:
        tools: What clients can list and call.

    Returns:
        The server, for any of the SDK's transports.
    """
    server: Server[Any, Any] = Server("xagent", version=__version__)
    by_name = {tool.name: tool for tool in tools}
    levels: WeakKeyDictionary[ServerSession, types.LoggingLevel] = WeakKeyDictionary()

    @server.list_tools()  # type: ignore[no-untyped-call, untyped-decorator] # the SDK's decorators have no types
    async def list_tools() -> list[types.Tool]:
        return [_description(tool) for tool in by_name.values()]

    @server.set_logging_level()  # type: ignore[no-untyped-call, untyped-decorator]
    async def set_level(level: types.LoggingLevel) -> None:
        levels[server.request_context.session] = level

    # The tools check their input themselves, in words for a model. What they raise, the SDK makes an error result of.
    @server.call_tool(validate_input=False)  # type: ignore[untyped-decorator]
    async def call(name: str, arguments: dict[str, Any]) -> types.CallToolResult:
        if name not in by_name:
            raise ToolException(f"there is no tool {name!r}; there are {', '.join(by_name)}")
        context = server.request_context
        progress = Progress(
            context.session,
            context.request_id,
            context.meta.progressToken if context.meta else None,
            logs=levels.get(context.session, "notice") not in _QUIETER,
            tool=name,
        )
        asked = {"type": "tool_call", "id": str(context.request_id), "name": name, "args": arguments}
        async with progress.telling():
            message = await by_name[name].ainvoke(asked, config={"callbacks": [progress]})
        if not isinstance(message, ToolMessage):  # a tool may give back what it likes
            message = ToolMessage(str(message), tool_call_id=str(context.request_id))
        return result_of(message)

    return server


def _description(tool: BaseTool) -> types.Tool:
    schema: Any = tool.tool_call_schema
    if not isinstance(schema, dict):
        schema = TypeAdapter(schema).json_schema()
    return types.Tool(name=tool.name, description=tool.description, inputSchema=schema)
