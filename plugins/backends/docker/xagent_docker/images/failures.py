"""The one kind of error that images raise, and where a full disk becomes one."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from xagent_core.errors import BackendError

__all__ = ["COMPONENT", "disk_full", "naming_a_full_disk"]

COMPONENT: Final = "images"
"""What errors call this part."""


def disk_full(where: str) -> BackendError:
    """The error for a disk with no space left.

    Args:
        where: Which disk: `the temporary folder /var/tmp`, `the daemon`.
    """
    return BackendError(
        COMPONENT,
        f"no space is left on the disk of {where}",
        "All five languages need about 2 GB there while they are built. Free some (`docker system prune` does for "
        "the daemon), or set TMPDIR to a folder on a larger disk.",
    )


@contextmanager
def naming_a_full_disk(where: str) -> Iterator[None]:
    """Turns the system's error for a full disk into one that says which disk it was."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise disk_full(where) from error
        raise
