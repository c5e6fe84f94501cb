"""Writes collected files below a folder, whatever their names say: they were made by a program nobody trusts."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Final

from xagent_core.errors import XAgentError
from xagent_core.types import OutputFile

__all__ = ["save_files"]

# A component that is a symbolic link is an error, so that no link which stands in the folder leads out of it.
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def save_files(files: Iterable[OutputFile], folder: Path) -> None:
    """Writes each file to its path below `folder`, replacing at once what stands there.

    A file that cannot be written keeps no other from being written.

    Args:
        files: Their paths are not trusted.
        folder: It is made where it is missing.

    Raises:
        XAgentError: One or more could not be written; the error names them.
    """
    failed = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        root = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise XAgentError("output folder", f"{folder} cannot be used: {error.strerror}", "Choose another.") from error
    try:
        for file in files:
            try:
                _save(root, file)
            except (OSError, ValueError) as error:
                failed.append(f"{file.path!r}: {getattr(error, 'strerror', None) or error}")
    finally:
        os.close(root)
    if failed:
        raise XAgentError("output folder", f"not written below {folder}: {'; '.join(failed)}")


def _save(root: int, file: OutputFile) -> None:
    path = PurePosixPath(file.path)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise ValueError("the path leaves the folder")
    with _opened_parent(root, path.parts[:-1]) as parent:
        temporary = f".xagent-{secrets.token_hex(8)}"
        descriptor = os.open(temporary, _NEW_FILE, 0o666, dir_fd=parent)
        try:
            with os.fdopen(descriptor, "wb") as target:
                target.write(file.content)
            os.replace(temporary, path.name, src_dir_fd=parent, dst_dir_fd=parent)
        except BaseException:
            os.unlink(temporary, dir_fd=parent)
            raise


@contextmanager
def _opened_parent(root: int, parts: tuple[str, ...]) -> Iterator[int]:
    """The folder that `parts` lead to from `root`; missing ones are made."""
    folder = os.dup(root)
    try:
        for part in parts:
            with suppress(FileExistsError):  # a link in its place is refused by the next line
                os.mkdir(part, dir_fd=folder)
            inner = os.open(part, _FOLDER, dir_fd=folder)
            os.close(folder)
            folder = inner
        yield folder
    finally:
        os.close(folder)
