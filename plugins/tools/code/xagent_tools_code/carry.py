"""Carries the files of a workspace into a sandbox, and what a program made of them back.

What comes back was named by a program that nobody trusts: it is written through the workspace, which confines it.
"""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Final

from xagent_core import ExecutionResult, InputFile, InvalidRequestError, Limits, OutputFile, Workspace
from xagent_core.abc.language import Program
from xagent_core.policy import Plan
from xagent_core.types import MIB, shown_path
from xagent_core.workspace import Entry

__all__ = ["MOST_BYTES", "MOST_FILES", "Changes", "Load", "bring_back", "changes_of", "limits_for", "pack"]

MOST_FILES: Final = 500
"""Files that go into a sandbox, and files that come back."""
MOST_BYTES: Final = 32 * MIB
"""Bytes of all files that go in; what is new may be as much as the `collect` limit."""

_NAMED: Final = 5
_LISTED: Final = 20_000
# What tools leave behind, and what can be had again.
_LEFT_OUT: Final = frozenset({"__pycache__", "node_modules"})
_TOOLS_OWN: Final = frozenset({".cache", ".config"})
_ESCAPE: Final = re.compile(r"\\x[89a-f][0-9a-f]")
_SMALL: Final = MIB


@dataclass(frozen=True, kw_only=True, slots=True)
class Load:
    """What goes into a sandbox.

    Attributes:
        files: The workspace's files.
        notices: What was left behind, and why.
    """

    files: tuple[InputFile, ...] = ()
    notices: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(len(file.content) for file in self.files)


@dataclass(frozen=True, kw_only=True, slots=True)
class Changes:
    """What a program changed.

    Attributes:
        written: Files that are new or different.
        removed: Paths of files that it removed.
        notices: What could not be kept, and why.
    """

    written: tuple[OutputFile, ...] = ()
    removed: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()


@dataclass(slots=True)
class _LeftOut:
    """Files that were left out, by reason."""

    reasons: dict[str, dict[str, None]] = field(default_factory=dict)

    def add(self, path: str, reason: str) -> None:
        self.reasons.setdefault(reason, {})[path] = None

    def notices(self, where: str) -> tuple[str, ...]:
        return tuple(f"{where}: {_some(paths)} ({reason})." for reason, paths in self.reasons.items())


def pack(workspace: Workspace, *, source_name: str) -> Load:
    """The files of a workspace that a program will find in its working directory.

    Hidden files and folders, and what tools leave behind (`__pycache__`, `node_modules`), stay where they are.

    Args:
        workspace: Blocking work is done there.
        source_name: The program's own file, whose name cannot be taken.

    Returns:
        As many as there is room for.
    """
    left_out, room = _LeftOut(), MOST_BYTES
    files: list[InputFile] = []
    listing = workspace.entries(most=_LISTED, wanted=lambda entry: not _staying(entry.path))
    for entry in listing.entries:
        if entry.kind == "folder":
            continue
        if reason := _reason_to_stay(entry, source_name, room=room, count=len(files)):
            left_out.add(entry.path, reason)
            continue
        try:
            files.append(InputFile(entry.path, workspace.read(entry.path, most=room)))
        except InvalidRequestError as error:
            left_out.add(entry.path, error.cause.rpartition(": ")[2])
            continue
        room -= len(files[-1].content)
    notices = left_out.notices("Not in the sandbox")
    if not listing.complete:
        notices += (f"The workspace has more files than the {_LISTED} that were looked at.",)
    return Load(files=tuple(files), notices=notices)


def limits_for(planned: Plan, load: Load) -> Limits:
    """Limits that leave a program as much room beside the files as it would have without them.

    The scratch space is memory too. Sizes are rounded up, so that sandboxes that stand by fit more often.

    Args:
        planned: The program without the files.
        load: The files.

    Returns:
        Limits to set; what the backend cannot hold is left out.
    """
    more = 0 if load.size <= _SMALL else 1 << (load.size - 1).bit_length()
    held = {"memory", "scratch"} - set(planned.spec.unenforced) if more else set()
    return Limits(
        memory=planned.spec.memory + more if "memory" in held else None,
        scratch=planned.spec.scratch + more if "scratch" in held else None,
        # All of the files come back, with what is new.
        collect=planned.limits.collect + load.size if load.files else None,
    )


def changes_of(load: Load, result: ExecutionResult, *, program: Program) -> Changes:
    """The collected files that are new or different, without the program itself and what tools leave behind.

    Args:
        load: What went in.
        result: With all files of the working directory as they came back.
        program: What ran.

    Returns:
        The files, and what else came back and is left out.
    """
    before = {shown_path(file.path): file.content for file in load.files}
    left_out, renamed, written = _LeftOut(), _LeftOut(), []
    for file in result.files:
        if file.path == program.source_name:
            if file.content != program.source:
                left_out.add(file.path, "it is the program itself")
        elif staying := _staying(file.path):
            if not _is_byproduct(staying, program):
                left_out.add(staying, "nothing is that begins with a dot, nor node_modules")
        elif before.get(file.path) != file.content:
            written.append(file)
            if file.path not in before and _ESCAPE.search(file.path):
                renamed.add(file.path, "bytes that are not UTF-8 are written as escapes")
    notices = left_out.notices("Not kept") + renamed.notices("Kept under another name")
    return Changes(written=tuple(written), notices=notices)


def bring_back(workspace: Workspace, load: Load, result: ExecutionResult, *, program: Program) -> Changes:
    """Writes what a program changed into the workspace.

    Args:
        workspace: Blocking work is done there.
        load: What went in.
        result: With all files of the working directory as they came back.
        program: What ran.

    Returns:
        What was changed. A file that was removed is removed only where everything came back and could be written,
        and nobody else has changed it meanwhile.
    """
    changes = changes_of(load, result, program=program)
    names = {shown_path(file.path): file.path for file in load.files}
    left = {file.path for file in result.files}
    gone = [] if result.files_truncated else [file for file in load.files if shown_path(file.path) not in left]
    in_the_way = _in_the_way(gone, {file.path for file in changes.written})
    removed = _remove(workspace, in_the_way)
    _remove_folders(workspace, removed, {file.path for file in changes.written})
    left_out, still_there = _LeftOut(), _LeftOut()
    written: list[OutputFile] = []
    for file in changes.written:
        if len(written) >= MOST_FILES:
            left_out.add(file.path, f"at most {MOST_FILES} files are kept")
            continue
        try:
            workspace.write(names.get(file.path, file.path), file.content)
        except InvalidRequestError as error:
            left_out.add(file.path, error.cause.rpartition(": ")[2])
        else:
            written.append(file)
    rest = [before for before in gone if before not in in_the_way]
    if left_out.reasons:  # what could not be written may be what was moved away
        for before in rest:
            still_there.add(before.path, "not everything could be kept")
    else:
        removed += _remove(workspace, rest)
    notices = changes.notices + left_out.notices("Not kept") + still_there.notices("Not removed")
    return Changes(written=tuple(written), removed=tuple(sorted(map(shown_path, removed))), notices=notices)


def _in_the_way(gone: Iterable[InputFile], made: Collection[str]) -> list[InputFile]:
    """The files that are a folder now, or were in a folder that is a file now."""
    folders = {folder for path in made for folder in _folders(path)}
    return [file for file in gone if file.path in folders or not _folders(file.path).isdisjoint(made)]


def _remove(workspace: Workspace, files: Iterable[InputFile]) -> list[str]:
    removed = []
    for file in files:
        try:
            if workspace.read(file.path, most=MOST_BYTES) == file.content:
                workspace.remove(file.path)
                removed.append(file.path)
        except InvalidRequestError:
            continue  # somebody else has removed it already, or put something in its place
    return removed


def _remove_folders(workspace: Workspace, removed: Iterable[str], made: Collection[str]) -> None:
    """Removes the emptied folders that are files now, those below them first."""
    folders = {folder for path in removed for folder in _folders(path)}
    for folder in sorted(folders, key=len, reverse=True):
        if folder in made or not _folders(folder).isdisjoint(made):
            with contextlib.suppress(InvalidRequestError):  # where something is in it, the write says so
                workspace.remove_folder(folder)


def _folders(path: str) -> set[str]:
    """The folders that a path leads through."""
    return set(map(str, PurePosixPath(path).parents))


def _staying(path: str) -> str:
    """A path up to the first part that does not travel; empty where all of it travels."""
    parts = path.split("/")
    for number, part in enumerate(parts, 1):
        if part.startswith(".") or part in _LEFT_OUT:
            return "/".join(parts[:number])
    return ""


def _is_byproduct(path: str, program: Program) -> bool:
    """Whether a language's own tools make it, again and again, for whatever program."""
    source = PurePosixPath(program.source_name)
    compiled = bool(program.build) and path.startswith(f".{source.stem}.")
    return compiled or path in _TOOLS_OWN or path.endswith("__pycache__")


def _reason_to_stay(entry: Entry, source_name: str, *, room: int, count: int) -> str:
    """Why a file does not go into the sandbox; empty where it does."""
    if entry.kind != "file":
        return "a link, which is not followed" if entry.kind == "link" else "no regular file"
    if entry.shared:
        return "it has further names (hard links), which may lie outside"
    if entry.path == source_name or entry.path.startswith(f"{source_name}/"):
        return f"the program itself is {source_name} there: rename it to use it"
    if count >= MOST_FILES:
        return f"at most {MOST_FILES} files fit"
    if entry.size > room:
        return f"at most {MOST_BYTES} bytes fit"
    return ""


def _some(paths: Collection[str]) -> str:
    named = ", ".join(map(shown_path, itertools.islice(paths, _NAMED)))
    return named if len(paths) <= _NAMED else f"{named} and {len(paths) - _NAMED} more"
