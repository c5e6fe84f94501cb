"""Tools of the suite's workers: one that runs a program of `program`, and one that needs a workspace."""

from __future__ import annotations

import contextlib
from typing import Any, Literal

from langchain_core.callbacks import adispatch_custom_event
from langchain_core.tools import ToolException
from pydantic import BaseModel, SkipValidation

from xagent_core.agent_tool import OUTPUT_EVENT, AgentTool, EngineTool
from xagent_core.request import make_request
from xagent_core.testing.queues.worker import LANGUAGE
from xagent_core.types import FinishedEvent
from xagent_core.workspace import Workspace

__all__ = ["Keep", "Play"]


class PlayInput(BaseModel):
    """What `play` takes."""

    told: str


class Play(EngineTool):
    """Runs a program of `program`, and fails where that does."""

    name: str = "play"
    description: str = "Plays a program."
    response_format: Literal["content", "content_and_artifact"] = "content_and_artifact"
    args_schema: Any = PlayInput

    async def work(self, *, told: str) -> tuple[str, dict[str, Any]]:
        """The program's output, and its exit code."""
        async with contextlib.aclosing(self.engine.stream(make_request(told, language=LANGUAGE))) as events:
            async for event in events:
                if isinstance(event, FinishedEvent):
                    result = event.result
                else:
                    await adispatch_custom_event(OUTPUT_EVENT, {"stream": event.stream, "data": event.data})
        if not result.ok:
            raise ToolException(f"the program ended with {result.exit_code}")
        return result.output, {"exit_code": result.exit_code}


class KeepInput(BaseModel):
    """What `keep` takes."""

    text: str


class Keep(AgentTool):
    """Adds text to a file of the workspace, and tells what it holds."""

    name: str = "keep"
    description: str = "Keeps text."
    args_schema: Any = KeepInput
    workspace: SkipValidation[Workspace | None]

    def work(self, *, text: str) -> str:
        """The file's content."""
        if self.workspace is None:
            raise ToolException("there is no workspace, and get_tools has made this tool without one")
        with (self.workspace.path / "kept").open("a+", encoding="utf-8") as file:
            file.write(text)
            file.seek(0)
            return file.read()
