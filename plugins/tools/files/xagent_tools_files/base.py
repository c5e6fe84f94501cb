"""What the tools for files have in common."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, Field, SkipValidation

from xagent_core import InvalidRequestError, ToolContext, Workspace
from xagent_core.agent_tool import AgentTool

__all__ = ["LONGEST_PATH", "FileInput", "FileTool"]

LONGEST_PATH = 4000


class FileInput(BaseModel):
    """The path, which all of them take."""

    path: str = Field(
        min_length=1,
        max_length=LONGEST_PATH,
        description="The file, relative to the workspace and without '..', such as 'src/main.py'.",
    )


class FileTool(AgentTool):
    """A tool that works in a workspace."""

    workspace: SkipValidation[Workspace] = Field(exclude=True, repr=False)

    @classmethod
    def of(cls, context: ToolContext) -> Self:
        """The tool for the workspace of a context.

        Raises:
            InvalidRequestError: There is none.
        """
        if context.workspace is None:
            raise InvalidRequestError("file tools", "there is no workspace", "Pass get_tools(..., workspace=FOLDER).")
        return cls(workspace=context.workspace)  # type: ignore[call-arg] # name and description are the subclass's
