"""The tool that lists files."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any, Final

from langchain_core.tools import ToolException
from pydantic import BaseModel, Field

from xagent_core.guest.patterns import matches
from xagent_core.types import shown_path
from xagent_core.workspace import Entry
from xagent_tools_files.base import LONGEST_PATH, FileTool

__all__ = ["ListFiles", "ListFilesInput"]

_MOST_SEEN: Final = 20_000


class ListFilesInput(BaseModel):
    """What `list_files` takes."""

    path: str = Field(
        default=".", min_length=1, max_length=LONGEST_PATH, description="The folder, relative to the workspace."
    )
    pattern: str | None = Field(
        default=None,
        min_length=1,
        max_length=LONGEST_PATH,
        description="Only what matches, such as '*.py' (at any depth) or 'src/**/*.txt' (relative to the folder).",
    )
    recursive: bool = Field(default=True, description="Whether to list what is in the folders below, too.")
    include_hidden: bool = Field(default=False, description="Whether to list what begins with a dot, too.")
    max_entries: int = Field(default=500, ge=1, le=5000, description="Entries to return.")


class ListFiles(FileTool):
    """Lists what is in a folder."""

    name: str = "list_files"
    description: str = (
        "List the files and folders of the workspace. Returns status, path, entries (path relative to the workspace, "
        "type: file, folder, link or other, and size in bytes) and truncated, whether there are more."
    )
    args_schema: Any = ListFilesInput

    def work(
        self, *, path: str, pattern: str | None, recursive: bool, include_hidden: bool, max_entries: int
    ) -> dict[str, Any]:
        """What is there."""

        def wanted(entry: Entry) -> bool:
            return include_hidden or not entry.path.rpartition("/")[2].startswith(".")

        glob = None if pattern is None else _glob(pattern)
        listing = self.workspace.entries(path, most=_MOST_SEEN, depth=None if recursive else 1, wanted=wanted)
        found = [entry for entry in listing.entries if glob is None or _matches(entry, path, glob)]
        return {
            "status": "success",
            "path": path,
            "entries": [_shown(entry) for entry in found[:max_entries]],
            "truncated": len(found) > max_entries or not listing.complete,
        }


def _glob(pattern: str) -> str:
    """A pattern without what has no meaning in it: one with a slash is for the folder, another one for any depth."""
    plain = PurePosixPath(pattern.lstrip("/"))
    if ".." in plain.parts:
        raise ToolException(f"pattern: {pattern!r} leads out of the folder. Give the folder as path, without '..'.")
    if "/" in pattern:
        return str(plain) if plain.parts else "*"
    return f"**/{plain}"


def _matches(entry: Entry, folder: str, glob: str) -> bool:
    return matches(str(PurePosixPath(entry.path).relative_to(PurePosixPath(folder))), [glob])


def _shown(entry: Entry) -> dict[str, Any]:
    shown: dict[str, Any] = {"path": shown_path(entry.path), "type": entry.kind}
    return shown | {"size": entry.size} if entry.kind == "file" else shown
