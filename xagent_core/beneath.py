"""Opens folders beneath another one: the kernel, not a comparison of strings, decides what is inside.

Linux 5.6 resolves a path under such a rule (`openat2`); elsewhere, and where a seccomp filter forbids the call, a walk
from folder to folder does the same. Neither follows a symbolic link in any part of the path, so that one which is
put there in the middle of it changes nothing.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import functools
import os
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any, Final

__all__ = ["make_folder", "open_beneath", "open_root"]

# The same on every architecture of Linux that Python runs on: include/uapi/asm-generic/unistd.h.
_SYS_OPENAT2: Final = 437
# include/uapi/linux/openat2.h
_RESOLVE_NO_MAGICLINKS: Final = 0x02
_RESOLVE_NO_SYMLINKS: Final = 0x04
_RESOLVE_BENEATH: Final = 0x08
_RULE: Final = _RESOLVE_BENEATH | _RESOLVE_NO_SYMLINKS | _RESOLVE_NO_MAGICLINKS

# The kernel has no such call, not with this rule, or a filter forbids it (which older ones do with EPERM).
_NOT_HERE: Final = frozenset({errno.ENOSYS, errno.EPERM, errno.EINVAL, errno.E2BIG})
_TRIES: Final = 16
_FOLDER: Final = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


@contextlib.contextmanager
def open_root(path: Path) -> Generator[int]:
    """A descriptor of the folder at a path that is trusted.

    Raises:
        OSError: It is not there, or is no folder.
    """
    root = os.open(path, _FOLDER)
    try:
        yield root
    finally:
        os.close(root)


@contextlib.contextmanager
def open_beneath(root: int, names: Sequence[str], *, make: bool = False) -> Generator[int]:
    """A descriptor of the folder that these names lead to. It serves as `dir_fd`, and cannot be read.

    Args:
        root: Descriptor of the folder to start from.
        names: Names without slashes, none of them `.`, `..` or empty; none at all means the root itself.
        make: Whether to make folders that are missing.

    Raises:
        OSError: One is missing, is no folder, or is a symbolic link (ELOOP or ENOTDIR).
    """
    folder = _open(root, names, make=make)
    try:
        yield folder
    finally:
        os.close(folder)


def make_folder(name: str, *, within: int) -> None:
    """Makes a folder, unless something of that name is there."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(name, dir_fd=within)


def _open(root: int, names: Sequence[str], *, make: bool) -> int:
    if not names:
        return os.open(".", _FOLDER, dir_fd=root)
    if make:
        return _walk(root, names, make=True)
    for _ in range(_TRIES):
        try:
            return _openat2(root, "/".join(names))
        except BlockingIOError:
            continue  # something on the way was renamed meanwhile: EAGAIN
        except OSError as error:
            if error.errno not in _NOT_HERE:
                raise
            break
    return _walk(root, names, make=False)


def _walk(root: int, names: Sequence[str], *, make: bool) -> int:
    """From folder to folder; with O_DIRECTORY and O_NOFOLLOW, a symbolic link is not a folder."""
    folder = os.dup(root)
    for name in names:
        try:
            if make:
                make_folder(name, within=folder)
            inner = os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=folder)
        finally:
            os.close(folder)
        folder = inner
    return folder


def _openat2(root: int, path: str) -> int:
    how = _OpenHow(_FOLDER, 0, _RULE)
    descriptor: int = _syscall()(_SYS_OPENAT2, root, os.fsencode(path), ctypes.byref(how), ctypes.sizeof(how))
    if descriptor < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)
    return descriptor


@functools.cache
def _syscall() -> Any:
    syscall = ctypes.CDLL(None, use_errno=True).syscall
    syscall.restype = ctypes.c_long
    syscall.argtypes = (ctypes.c_long, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_size_t)
    return syscall
