"""A folder that agents' files are confined to."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import secrets
import stat
import threading
import unicodedata
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Final, Literal

from xagent_core.beneath import open_beneath, open_root
from xagent_core.errors import InvalidRequestError
from xagent_core.types import MIB, relative_path

__all__ = ["Entry", "Listing", "Workspace"]

_LARGEST: Final = 10 * MIB
_DEEPEST: Final = 40
# O_NONBLOCK: a named pipe that has taken a file's place opens at once, and is then refused.
_OPEN: Final = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_REASONS: Final = {
    errno.ENOENT: "there is no such file or folder",
    errno.ELOOP: "a part of it is a symbolic link, which is not followed, or no folder",
    errno.ENOTDIR: "a part of it is a symbolic link, which is not followed, or no folder",
    errno.EISDIR: "it is a folder",
    errno.EACCES: "permission is denied",
    errno.ENOTEMPTY: "something is in it",
    errno.ENOSPC: "the disk is full",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """Something in a workspace.

    Attributes:
        path: Relative to the workspace.
        kind: `file` is a regular one; `other` is a device, a named pipe or a socket.
        size: Bytes of a file.
        shared: Whether a file has further names (hard links), which may lie outside the workspace: it is not read.
    """

    path: str
    kind: Literal["file", "folder", "link", "other"]
    size: int = 0
    shared: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Listing:
    """What is in a folder.

    Attributes:
        entries: Sorted within each folder.
        complete: Whether they are all that is there.
    """

    entries: tuple[Entry, ...]
    complete: bool


class Workspace:
    """A folder of which no path leads out: the files of agents' tools.

    Paths are relative and have no `..`. Each is opened from the folder's own descriptor, without following any
    symbolic link; only regular files that have no other name (hard link) are read or changed, and nothing waits for
    a device or a named pipe. It may be used from several threads at once. Work is blocking.

    Args:
        path: The folder; it is made where it is missing. Whoever names it is trusted, links on the way to it are
            followed.
        largest_file: Bytes of a file that may be written.

    Raises:
        InvalidRequestError: The folder cannot be made, or is none.
    """

    def __init__(self, path: str | Path, *, largest_file: int = _LARGEST) -> None:
        self.path = Path(path).absolute()
        self.largest_file = largest_file
        # A change that depends on what is there must not be made twice at once.
        self._lock = threading.Lock()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InvalidRequestError("workspace", f"{path} cannot be used: {error.strerror}") from error

    def __repr__(self) -> str:
        return f"Workspace({str(self.path)!r})"

    @contextlib.contextmanager
    def open(self, path: str) -> Generator[BinaryIO]:
        """A file, for reading.

        Args:
            path: Relative to the workspace.

        Yields:
            The open file.

        Raises:
            InvalidRequestError: The path is not inside, or there is no regular file that may be read.
        """
        with self._place(path) as (folder, name):
            descriptor = _open_regular(folder, name, os.O_RDONLY, path)
        with open(descriptor, "rb") as file:  # noqa: PTH123 - it is a descriptor
            yield file

    def read(self, path: str, *, most: int | None = None) -> bytes:
        """All of a file.

        Args:
            path: Relative to the workspace.
            most: Bytes that it may have; by default those of the largest file that may be written.

        Returns:
            Its content.

        Raises:
            InvalidRequestError: It is larger, or as for `open`.
        """
        most = self.largest_file if most is None else most
        with self.open(path) as file:
            content = file.read(most + 1)
        if len(content) > most:
            raise _refusal(path, f"it is larger than {most} bytes")
        return content

    def write(self, path: str, content: bytes) -> None:
        """Writes a file as a whole: whoever reads it meanwhile sees the old or the new content, never a part.

        Args:
            path: Relative to the workspace; folders are made.
            content: Its bytes.

        Raises:
            InvalidRequestError: The path is not inside, something that is no regular file is there, or the content
                is too large.
        """
        self._check_size(path, len(content))
        with self._place(path, make=True) as (folder, name):
            _replace(folder, name, content, path)

    def append(self, path: str, content: bytes) -> None:
        """Adds to the end of a file, or makes it.

        Args:
            path: Relative to the workspace; folders are made.
            content: The bytes to add.

        Raises:
            InvalidRequestError: As for `write`; or the file has other names.
        """
        self._check_size(path, len(content))  # before a file or a folder is made
        with self._lock, self._place(path, make=True) as (folder, name):
            descriptor = _open_regular(folder, name, os.O_WRONLY | os.O_APPEND | os.O_CREAT, path)
            with open(descriptor, "ab") as file:  # noqa: PTH123 - it is a descriptor
                self._check_size(path, os.fstat(descriptor).st_size + len(content))
                file.write(content)

    def edit(self, path: str, change: Callable[[bytes], bytes]) -> None:
        """Replaces a file's content by what a function makes of it; two edits never lose one another's work.

        Args:
            path: Relative to the workspace.
            change: Gets the content, and returns the new one. What it raises leaves the file as it was.

        Raises:
            InvalidRequestError: As for `read` and `write`.
        """
        with self._lock:
            self.write(path, change(self.read(path)))

    def remove(self, path: str) -> None:
        """Removes a file, or a link, but never what it leads to.

        Args:
            path: Relative to the workspace.

        Raises:
            InvalidRequestError: The path is not inside, or there is nothing, or a folder.
        """
        with self._place(path) as (folder, name):
            os.unlink(name, dir_fd=folder)

    def remove_folder(self, path: str) -> None:
        """Removes an empty folder.

        Args:
            path: Relative to the workspace.

        Raises:
            InvalidRequestError: The path is not inside, or there is no folder, or something is in it.
        """
        with self._place(path) as (folder, name):
            os.rmdir(name, dir_fd=folder)

    def entries(
        self,
        path: str = ".",
        *,
        most: int = 1000,
        depth: int | None = None,
        wanted: Callable[[Entry], bool] = lambda _entry: True,
    ) -> Listing:
        """What is in a folder, and in those below it.

        Args:
            path: Relative to the workspace; `.` is the workspace itself.
            most: Entries, at most.
            depth: 1 is the folder alone; by default all levels, of which more than 40 are not looked at.
            wanted: Entries that it refuses are left out, with all that is below them.

        Returns:
            The entries. Links are named, and not followed.

        Raises:
            InvalidRequestError: The path is not inside, or is no folder.
        """
        names = _names(path) if PurePosixPath(path).parts else []
        prefix = "".join(f"{name}/" for name in names)
        walk = _Walk(most, wanted, limited=depth is not None)
        with _explained(path), open_root(self.path) as root, open_beneath(root, names) as folder:
            walk.folder(folder, prefix, min(depth or _DEEPEST, _DEEPEST))
        return Listing(entries=tuple(walk.entries), complete=walk.complete)

    @contextlib.contextmanager
    def _place(self, path: str, *, make: bool = False) -> Generator[tuple[int, str]]:
        """The folder that a path's last name is in, and that name."""
        *parents, name = _names(path)
        with _explained(path), open_root(self.path) as root, open_beneath(root, parents, make=make) as folder:
            yield folder, name

    def _check_size(self, path: str, size: int) -> None:
        if size > self.largest_file:
            raise _refusal(path, f"it would have {size} bytes, and {self.largest_file} are allowed")


def _names(path: str) -> list[str]:
    """The parts of a path, which is relative and has no `..`; the kernel checks the rest."""
    checked = relative_path(path, "file")
    if any(unicodedata.category(character) == "Cc" for character in checked):
        raise _refusal(path, "its name has a control character", "Use a name that can be printed.")
    return checked.split("/")


def _refusal(path: str, cause: str, fix: str = "") -> InvalidRequestError:
    return InvalidRequestError("workspace", f"{path!r}: {cause}", fix)


@contextlib.contextmanager
def _explained(path: str) -> Generator[None]:
    """Says in words what the operating system says by a number."""
    try:
        yield
    except OSError as error:
        raise _refusal(path, _REASONS.get(error.errno or 0, error.strerror or str(error))) from error


def _check_regular(info: os.stat_result, path: str) -> None:
    if stat.S_ISLNK(info.st_mode):
        raise _refusal(path, "it is a symbolic link, which is not followed")
    if stat.S_ISDIR(info.st_mode):
        raise _refusal(path, "it is a folder")
    if not stat.S_ISREG(info.st_mode):
        raise _refusal(path, "it is a device, a named pipe or a socket, and no file")


def _open_regular(folder: int, name: str, flags: int, path: str) -> int:
    """Opens a regular file that has one name only; the look before it keeps devices from being opened at all."""
    with contextlib.suppress(FileNotFoundError):
        _check_regular(os.stat(name, dir_fd=folder, follow_symlinks=False), path)
    descriptor = os.open(name, flags | _OPEN, 0o666, dir_fd=folder)
    try:
        info = os.fstat(descriptor)
        _check_regular(info, path)
        if info.st_nlink > 1:
            raise _refusal(path, "it has further names (hard links), which may lie outside", "Make a copy of it.")
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _replace(folder: int, name: str, content: bytes, path: str) -> None:
    """Puts a new file in the place of a regular one, or of nothing. A hard link's other names keep the old content."""
    mode = None
    with contextlib.suppress(FileNotFoundError):
        info = os.stat(name, dir_fd=folder, follow_symlinks=False)
        _check_regular(info, path)
        mode = stat.S_IMODE(info.st_mode) & 0o777
    temporary = f".xagent-{secrets.token_hex(8)}"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _OPEN, 0o666, dir_fd=folder)
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123 - it is a descriptor
            file.write(content)
            if mode is not None:
                os.fchmod(descriptor, mode)
        os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=folder)
        raise


class _Walk:
    """Gathers what is in a folder and below it."""

    def __init__(self, most: int, wanted: Callable[[Entry], bool], *, limited: bool) -> None:
        self.entries: list[Entry] = []
        self.complete = True
        self._most = most
        self._wanted = wanted
        self._limited = limited  # whether what is too deep is not asked for

    def folder(self, folder: int, prefix: str, depth: int) -> None:
        """Adds what is in a folder, each folder in it followed by what is in that."""
        for entry in self._look(folder, prefix):
            if len(self.entries) >= self._most:
                self.complete = False
                return
            self.entries.append(entry)
            if entry.kind == "folder":
                self._below(folder, entry, depth - 1)

    def _below(self, folder: int, entry: Entry, depth: int) -> None:
        if not depth:
            self.complete &= self._limited
            return
        try:
            with open_beneath(folder, [entry.path.rpartition("/")[2]]) as inner:
                self.folder(inner, f"{entry.path}/", depth)
        except OSError:  # it has gone meanwhile, or may not be read
            self.complete = False

    def _look(self, folder: int, prefix: str) -> list[Entry]:
        readable = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder)
        try:
            with os.scandir(readable) as found:
                # One more than is wanted tells that there is more.
                items = sorted(itertools.islice(found, self._most + 1), key=lambda item: item.name)
                entries = [entry for item in items if (entry := _entry(item, prefix)) and self._wanted(entry)]
        finally:
            os.close(readable)
        self.complete &= len(items) <= self._most
        return entries


def _entry(item: os.DirEntry[str], prefix: str) -> Entry | None:
    path = prefix + item.name
    try:
        info = item.stat(follow_symlinks=False)
    except FileNotFoundError:
        return None
    if stat.S_ISREG(info.st_mode):
        return Entry(path=path, kind="file", size=info.st_size, shared=info.st_nlink > 1)
    if stat.S_ISDIR(info.st_mode):
        return Entry(path=path, kind="folder")
    return Entry(path=path, kind="link" if stat.S_ISLNK(info.st_mode) else "other")
