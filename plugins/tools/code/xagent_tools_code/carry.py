"""Carries the files of a workspace into a sandbox, and what a program made of them back.

What comes back was named by a program that nobody trusts: it is written through the workspace, which confines it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from xagent_core import ExecutionResult, InputFile, InvalidRequestError, Limits, OutputFile, Workspace
from xagent_core.policy import Plan
from xagent_core.types import MIB
from xagent_core.workspace import Entry

__all__ = ["MOST_BYTES", "MOST_FILES", "Changes", "Load", "bring_back", "limits_for", "new_files", "pack"]

MOST_FILES: Final = 500
"""Files that go into a sandbox, and files that come back."""
MOST_BYTES: Final = 32 * MIB
"""Bytes of all files that go in; what is new may be as much as the `collect` limit."""

_NAMED: Final = 5
_LISTED: Final = 20_000
# What tools leave behind, and what can be had again.
_LEFT_OUT: Final = frozenset({"__pycache__", "node_modules"})
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

    reasons: dict[str, list[str]] = field(default_factory=dict)

    def add(self, path: str, reason: str) -> None:
        self.reasons.setdefault(reason, []).append(path)

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
    listing = workspace.entries(most=_LISTED, wanted=lambda entry: _travels(entry.path))
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


def new_files(result: ExecutionResult, load: Load, *, source_name: str) -> tuple[OutputFile, ...]:
    """The collected files that are new or different, without the program itself and what tools leave behind."""
    before = {file.path: file.content for file in load.files}
    return tuple(
        file
        for file in result.files
        if file.path != source_name and _travels(file.path) and before.get(file.path) != file.content
    )


def bring_back(workspace: Workspace, load: Load, result: ExecutionResult, *, source_name: str) -> Changes:
    """Writes what a program changed into the workspace.

    Args:
        workspace: Blocking work is done there.
        load: What went in.
        result: With all files of the working directory as they came back.
        source_name: The program's own file.

    Returns:
        What was changed. A file that was removed is removed only where everything came back, and nobody else has
        changed it meanwhile.
    """
    left_out = _LeftOut()
    written: list[OutputFile] = []
    for file in new_files(result, load, source_name=source_name):
        if len(written) >= MOST_FILES:
            left_out.add(file.path, f"at most {MOST_FILES} files are kept")
            continue
        try:
            workspace.write(file.path, file.content)
        except InvalidRequestError as error:
            left_out.add(file.path, error.cause.rpartition(": ")[2])
        else:
            written.append(file)
    removed: Sequence[str] = ()
    if not result.files_truncated:
        removed = _remove(workspace, load.files, {file.path for file in result.files})
    return Changes(written=tuple(written), removed=tuple(removed), notices=left_out.notices("Not kept"))


def _remove(workspace: Workspace, before: Iterable[InputFile], left: set[str]) -> list[str]:
    removed = []
    for file in before:
        try:
            if file.path not in left and workspace.read(file.path) == file.content:
                workspace.remove(file.path)
                removed.append(file.path)
        except InvalidRequestError:
            continue  # somebody else has removed it already, or put something in its place
    return removed


def _travels(path: str) -> bool:
    return not any(part.startswith(".") or part in _LEFT_OUT for part in path.split("/"))


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


def _some(paths: Sequence[str]) -> str:
    named = ", ".join(path.encode("utf-8", "backslashreplace").decode() for path in paths[:_NAMED])
    return named if len(paths) <= _NAMED else f"{named} and {len(paths) - _NAMED} more"
