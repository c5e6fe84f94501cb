"""The four tools by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from xagent_tools_files.base import FileTool
from xagent_tools_files.edit import EditFile
from xagent_tools_files.list import ListFiles
from xagent_tools_files.read import ReadFile
from xagent_tools_files.write import WriteFile

__all__ = ["TOOLS"]

TOOLS: Final[Mapping[str, type[FileTool]]] = {
    "read_file": ReadFile,
    "write_file": WriteFile,
    "list_files": ListFiles,
    "edit_file": EditFile,
}
