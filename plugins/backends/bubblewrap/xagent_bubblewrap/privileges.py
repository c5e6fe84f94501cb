"""What this process may do, and which user sandboxes are to the kernel."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["Privileges", "find_privileges"]

_CAP_SYS_ADMIN: Final = 1 << 21  # linux/capability.h
# systemd's list of user ids in use (UIDS-GIDS) ends below; process ids have at most 22 bits.
_FIRST_UID: Final = 0x70000000
_PIDS: Final = 1 << 22


@dataclass(frozen=True, kw_only=True, slots=True)
class Privileges:
    """What this process may do.

    Attributes:
        user_namespace: Whether it needs a user namespace to make mounts.
        uid: The user and group that a sandbox is to the kernel, where this process is root; 0 leaves it as it is.
        uid_by_pid: Whether to add bwrap's process id to it, so that each sandbox is a user of its own: limits that
            the kernel holds for each user then hold for each sandbox.
        other_user: The user that the fork server itself must be, where root may not make mounts; 0 for this one.
    """

    user_namespace: bool
    uid: int = 0
    uid_by_pid: bool = False
    other_user: int = 0


def find_privileges(proc: Path = Path("/proc"), *, euid: int | None = None) -> Privileges:
    """Looks at this process.

    Args:
        proc: Where procfs is.
        euid: Instead of the effective user id.

    Returns:
        What it may do. Root that may map no other user counts as an ordinary user: it is one outside.
    """
    if (os.geteuid() if euid is None else euid) != 0:
        return Privileges(user_namespace=True)
    ranges = [tuple(map(int, line.split())) for line in (proc / "self/uid_map").read_text().splitlines()]
    uid, by_pid = 0, False
    for inside, _, count in ranges:
        if inside <= _FIRST_UID and inside + count >= _FIRST_UID + _PIDS:
            uid, by_pid = _FIRST_UID, True
            break
        if count > 2:
            # The last but one of what there is: the last, 65534, is `nobody`, who may own something.
            uid = max(uid, inside + count - 3)
    if not uid:
        return Privileges(user_namespace=True)
    status = dict(line.split(":", 1) for line in (proc / "self/status").read_text().splitlines() if ":" in line)
    if not int(status["CapEff"], 16) & _CAP_SYS_ADMIN:
        return Privileges(user_namespace=True, other_user=uid)
    return Privileges(user_namespace=False, uid=uid, uid_by_pid=by_pid)
