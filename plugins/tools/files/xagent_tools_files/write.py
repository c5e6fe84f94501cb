"""The tool that writes files."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from xagent_core.types import MIB
from xagent_tools_files.base import FileInput, FileTool

__all__ = ["WriteFile", "WriteFileInput"]


class WriteFileInput(FileInput):
    """What `write_file` takes."""

    content: str = Field(max_length=10 * MIB, description="The text. It is written as UTF-8, exactly as it is.")
    append: bool = Field(default=False, description="Add to the end of the file instead of replacing all of it.")


class WriteFile(FileTool):
    """Writes a text, as a whole or not at all."""

    name: str = "write_file"
    description: str = (
        "Write a text file of the workspace: make it, with the folders that it needs, or replace all of it, or append "
        "to it. Returns status, path, bytes_written and append. To change a part of a file, use edit_file."
    )
    args_schema: Any = WriteFileInput

    def work(self, *, path: str, content: str, append: bool) -> dict[str, Any]:
        """What was written where."""
        data = content.encode()
        if append:
            self.workspace.append(path, data)
        else:
            self.workspace.write(path, data)
        return {"status": "success", "path": path, "bytes_written": len(data), "append": append}
