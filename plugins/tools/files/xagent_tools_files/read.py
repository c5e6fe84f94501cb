"""The tool that reads text files."""

from __future__ import annotations

import mimetypes
import os
from typing import Any, Final

from langchain_core.tools import ToolException
from pydantic import Field

from xagent_core.types import MIB
from xagent_tools_files.base import FileInput, FileTool
from xagent_tools_files.text import SAMPLE, Excerpt, encoding_of, is_guess, read_lines

__all__ = ["ReadFile", "ReadFileInput"]

# What a model can take in at once; and what is read in about a second.
_MOST_CHARACTERS: Final = 50_000
_MOST_BYTES: Final = 64 * MIB
_MOST_LINES: Final = 100_000


class ReadFileInput(FileInput):
    """What `read_file` takes."""

    max_lines: int | None = Field(
        default=None,
        ge=1,
        le=_MOST_LINES,
        description=f"Lines to return. At most, and by default, as many as fit into {_MOST_CHARACTERS} characters.",
    )
    offset: int | None = Field(
        default=None, ge=0, le=10**9, description="Lines to pass over before the first one that is returned."
    )


class ReadFile(FileTool):
    """Reads lines of a text file; never the whole of a huge one."""

    name: str = "read_file"
    description: str = (
        "Read a text file of the workspace, or some of its lines. Returns status ('success', or 'binary' for a file "
        "that is no text, whose content is then empty), path, content, size in bytes, line_count of the whole file, "
        "and encoding; next_offset where there is more to read, and a notice where there is something to know."
    )
    args_schema: Any = ReadFileInput

    def work(self, *, path: str, max_lines: int | None, offset: int | None) -> dict[str, Any]:
        """The lines, and what is known of the file."""
        offset = offset or 0
        with self.workspace.open(path) as file:
            size = os.fstat(file.fileno()).st_size
            encoding = encoding_of(file.read(SAMPLE))
            if encoding is None:
                return _binary(path, size)
            file.seek(0)
            excerpt = read_lines(
                file,
                encoding,
                offset=offset,
                most_lines=max_lines or _MOST_LINES,
                most_characters=_MOST_CHARACTERS,
                most_bytes=_MOST_BYTES,
            )
        if not excerpt.lines and offset:
            raise ToolException(_beyond(path, offset, excerpt, size))
        answer = {
            "status": "success",
            "path": path,
            "content": excerpt.content,
            "size": size,
            "line_count": excerpt.line_count,
            "encoding": encoding,
        }
        if excerpt.more:
            answer["next_offset"] = offset + excerpt.lines
        notices = _notices(excerpt, offset, size)
        if is_guess(encoding):
            notices.append(f"The encoding is a guess: the file is not UTF-8, and likely {encoding}.")
        if notices:
            answer["notice"] = " ".join(notices)
        return answer


def _binary(path: str, size: int) -> dict[str, Any]:
    kind = mimetypes.guess_type(path)[0] or "unknown type"
    notice = f"This is a binary file ({kind}, {size} bytes). Read it with a program in the sandbox."
    return {"status": "binary", "path": path, "content": "", "size": size, "line_count": None, "notice": notice}


def _beyond(path: str, offset: int, excerpt: Excerpt, size: int) -> str:
    if excerpt.line_count is not None:
        return f"workspace: {path!r} has {excerpt.line_count} lines, so there are none behind offset {offset}."
    return (
        f"workspace: {path!r} has {size} bytes, and offset {offset} is behind the first {_MOST_BYTES}, which is as far "
        "as read_file looks. Read it with a program in the sandbox."
    )


def _notices(excerpt: Excerpt, offset: int, size: int) -> list[str]:
    notices = []
    if excerpt.line_count is None:
        notices.append(f"The file is huge ({size} bytes): its lines were not counted.")
    if excerpt.more:
        notices.append(f"These are lines {offset + 1} to {offset + excerpt.lines}; there are more.")
    if excerpt.cut:
        cut = f"Line {offset + excerpt.lines} is longer than {_MOST_CHARACTERS} characters, and cut."
        notices.append(f"{cut} Read the rest of it with a program in the sandbox, such as execute_code runs.")
    return notices
