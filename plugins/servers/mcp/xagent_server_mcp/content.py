"""Turns what a LangChain tool gave back into what MCP calls the result of a tool."""

from __future__ import annotations

import base64
import binascii
import json
import mimetypes
from collections.abc import Iterator, Mapping
from typing import Any

from langchain_core.messages import ToolMessage
from mcp import types
from pydantic import AnyUrl

__all__ = ["result_of"]


def result_of(message: ToolMessage) -> types.CallToolResult:
    """The result for a client.

    Text that is a JSON object, as tools give that return one, is structured content too. Files of an artifact follow:
    images as images, others as resources.

    Args:
        message: What the tool answered to a call.
    """
    content = [*_blocks(message.content), *_files(message.artifact)]
    return types.CallToolResult(
        content=content, structuredContent=_object(message.content), isError=message.status == "error"
    )


def _object(content: str | list[Any]) -> dict[str, Any] | None:
    if not isinstance(content, str) or not content.startswith("{"):
        return None
    try:
        value = json.loads(content)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _blocks(content: str | list[Any]) -> Iterator[types.ContentBlock]:
    for block in [content] if isinstance(content, str) else content:
        if isinstance(block, str):
            yield types.TextContent(type="text", text=block)
        elif block.get("type") == "text":
            yield types.TextContent(type="text", text=str(block.get("text", "")))
        elif block.get("type") in ("image", "audio") and isinstance(block.get("base64"), str):
            data, kind = block["base64"], str(block.get("mime_type", "application/octet-stream"))
            if block["type"] == "image":
                yield types.ImageContent(type="image", data=data, mimeType=kind)
            else:
                yield types.AudioContent(type="audio", data=data, mimeType=kind)
        else:
            yield types.TextContent(type="text", text=json.dumps(block, default=str))


def _files(artifact: Any) -> Iterator[types.ContentBlock]:
    """The files of an `ExecutionResult` in its JSON form, which is what tools that run code have as artifact."""
    files = artifact.get("files") if isinstance(artifact, Mapping) else None
    for file in files if isinstance(files, list | tuple) else ():
        path, content = (file.get("path"), file.get("content")) if isinstance(file, Mapping) else (None, None)
        if not isinstance(path, str) or not isinstance(content, str):
            continue
        try:
            # Pydantic writes the alphabet of URLs, and MCP reads the other one.
            data = base64.b64encode(base64.urlsafe_b64decode(content)).decode()
        except (binascii.Error, ValueError):
            continue
        kind = mimetypes.guess_type(path)[0] or "application/octet-stream"
        if kind.startswith("image/"):
            yield types.ImageContent(type="image", data=data, mimeType=kind)
        else:
            uri = AnyUrl.build(scheme="sandbox", host="workspace", path=path)
            resource = types.BlobResourceContents(uri=uri, mimeType=kind, blob=data)
            yield types.EmbeddedResource(type="resource", resource=resource)
