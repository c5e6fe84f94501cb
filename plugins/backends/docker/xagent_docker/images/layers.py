"""Writes image layers: tar archives that are the same bytes whenever their content is the same."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import IO, Final, Self

__all__ = ["EPOCH", "Layer", "LayerWriter", "parents"]

EPOCH: Final = 1_577_836_800
"""The modification time of what has none worth keeping: 2020, since zip archives know nothing before 1980."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Layer:
    """A finished layer.

    Attributes:
        path: Its uncompressed tar archive.
        digest: The SHA-256 of it in hexadecimal, which is how engines name it.
        size: Bytes of the archive.
        origin: What it holds, for the image's history.
    """

    path: Path
    digest: str
    size: int
    origin: str


def parents(path: str) -> list[str]:
    """The folders above a path, outermost first: a layer must hold them, or engines make up their modes."""
    return [str(folder) for folder in reversed(PurePosixPath(path).parents) if folder.name]


class LayerWriter:
    """Writes one layer. It is a context manager; `layer` is there when the block has ended.

    Args:
        path: The archive to write.
        origin: What the layer holds.
    """

    def __init__(self, path: Path, origin: str) -> None:
        self._path = path
        self._origin = origin
        self._seen: set[str] = set()
        self._tar = tarfile.open(path, "w", format=tarfile.PAX_FORMAT)  # noqa: SIM115
        self._layer: Layer | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._tar.close()
        if kind is None:
            with self._path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            size = self._path.stat().st_size
            self._layer = Layer(path=self._path, digest=digest, size=size, origin=self._origin)

    @property
    def layer(self) -> Layer:
        """The finished layer."""
        if self._layer is None:
            raise RuntimeError("the layer is not finished")
        return self._layer

    def add(self, member: tarfile.TarInfo, content: IO[bytes] | None = None) -> None:
        """Adds a member as it is, after the folders above it that are not there yet; a second of its name is left out.

        Args:
            member: Its name is relative to the root, without `./`.
            content: Of a regular file.
        """
        if member.name in self._seen:
            return
        for folder in parents(member.name):
            if folder not in self._seen:
                self._write(_member(folder, tarfile.DIRTYPE, 0o755))
        self._write(member, content)

    def file(self, path: str, content: bytes, *, executable: bool = False) -> None:
        """Adds a file of root's that all can read."""
        member = _member(path, tarfile.REGTYPE, 0o755 if executable else 0o644)
        member.size = len(content)
        self.add(member, io.BytesIO(content))

    def folder(self, path: str, *, owner: int = 0) -> None:
        """Adds a folder that all can read.

        Args:
            path: Relative to the root.
            owner: The user and group id.
        """
        member = _member(path, tarfile.DIRTYPE, 0o755)
        member.uid = member.gid = owner
        self.add(member)

    def link(self, path: str, target: str) -> None:
        """Adds a symbolic link."""
        member = _member(path, tarfile.SYMTYPE, 0o777)
        member.linkname = target
        self.add(member)

    def remove(self, paths: Iterable[str]) -> None:
        """Hides what layers below hold, by the mark that all engines know ("whiteout", OCI image specification)."""
        for path in paths:
            pure = PurePosixPath(path)
            self.file(str(pure.with_name(f".wh.{pure.name}")), b"")

    def _write(self, member: tarfile.TarInfo, content: IO[bytes] | None = None) -> None:
        self._seen.add(member.name)
        self._tar.addfile(member, content)


def _member(path: str, kind: bytes, mode: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(path)
    member.type, member.mode, member.mtime = kind, mode, EPOCH
    return member
