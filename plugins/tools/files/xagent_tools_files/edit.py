"""The tool that replaces a text in a file."""

from __future__ import annotations

from typing import Any, Final

from langchain_core.tools import ToolException
from pydantic import Field

from xagent_tools_files.base import FileInput, FileTool
from xagent_tools_files.text import encoding_of

__all__ = ["EditFile", "EditFileInput"]

_LONGEST: Final = 1_000_000
_LINES_NAMED: Final = 10


class EditFileInput(FileInput):
    """What `edit_file` takes."""

    old_text: str = Field(
        min_length=1,
        max_length=_LONGEST,
        description="The text to replace, exactly as it is in the file, indentation and line ends included.",
    )
    new_text: str = Field(max_length=_LONGEST, description="What takes its place; empty to delete it.")
    replace_all: bool = Field(
        default=False, description="Replace every occurrence. Otherwise the text must occur exactly once."
    )


class EditFile(FileTool):
    """Replaces a text that occurs once, or all of its occurrences; two edits at once do not lose each other."""

    name: str = "edit_file"
    description: str = (
        "Replace a text in a file of the workspace, which must be there exactly as given, and only once unless "
        "replace_all is set. Returns status, path, replacements and line (of the first one)."
    )
    args_schema: Any = EditFileInput

    def work(self, *, path: str, old_text: str, new_text: str, replace_all: bool) -> dict[str, Any]:
        """How often and where it was replaced."""
        done: dict[str, Any] = {"status": "success", "path": path}

        def change(content: bytes) -> bytes:
            text, encoding = _decode(content, path)
            old, new = _with_line_ends_of(text, old_text, new_text)
            lines = _lines_of(text, old)
            _check(text, old, new, lines, path=path, replace_all=replace_all)
            done.update(replacements=len(lines), line=lines[0])
            try:
                return text.replace(old, new).encode(encoding)
            except UnicodeEncodeError as error:
                raise ToolException(f"new_text: {path!r} is encoded as {encoding}, which lacks it: {error}") from error

        self.workspace.edit(path, change)
        return done


def _decode(content: bytes, path: str) -> tuple[str, str]:
    """The text and its encoding, where writing it again gives the same bytes."""
    encoding = encoding_of(content)
    try:
        text = content.decode(encoding) if encoding else ""
        same = encoding is not None and text.encode(encoding) == content
    except UnicodeError:
        same = False
    if encoding is None or not same:
        raise ToolException(f"workspace: {path!r} is no text that can be edited; use a program in the sandbox.")
    return text, encoding


def _with_line_ends_of(text: str, old: str, new: str) -> tuple[str, str]:
    """In a file with the line ends of Windows, a text with plain ones means the same."""
    if old not in text and "\r\n" in text and "\r" not in old:
        return old.replace("\n", "\r\n"), new.replace("\r\n", "\n").replace("\n", "\r\n")
    return old, new


def _lines_of(text: str, old: str) -> list[int]:
    """The numbers of the lines in which it begins."""
    lines, line, start = [], 1, 0
    while (at := text.find(old, start)) >= 0:
        line += text.count("\n", start, at)
        lines.append(line)
        line += old.count("\n")
        start = at + len(old)
    return lines


def _check(text: str, old: str, new: str, lines: list[int], *, path: str, replace_all: bool) -> None:
    if not lines:
        blanks = " ".join(old.split())
        hint = (
            "It is there with other white space (indentation, line ends)"
            if blanks and blanks in " ".join(text.split())
            else "Nothing was changed"
        )
        raise ToolException(f"old_text: it is not in {path!r}. {hint}: read the file, and copy the text exactly.")
    if len(lines) > 1 and not replace_all:
        named = ", ".join(map(str, lines[:_LINES_NAMED])) + (", ..." if len(lines) > _LINES_NAMED else "")
        raise ToolException(
            f"old_text: it is in {path!r} {len(lines)} times (lines {named}). Nothing was changed: give more of the "
            "text around the one that is meant, or set replace_all."
        )
    if old == new:
        raise ToolException("new_text: it is the same as old_text, so nothing would change.")
