"""What a sandbox sees of this machine: /usr, a made-up /etc, and the toolchains of its language. Nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

__all__ = ["Entry", "root_entries"]

Entry = tuple[str, str, str | bytes]
"""A kind, the path in the sandbox, and a value: for a `link` its target, for a `file` its bytes, for a `copy` or a
`bind` where it is on this machine, for a `folder` nothing."""

# Those that the C library and name lookups need; no host name, no user, no resolver of the host.
_ETC: Final = {
    "passwd": b"root:x:0:0:root:/root:/usr/sbin/nologin\nsandbox:x:1000:1000::/tmp/work:/bin/sh\n",
    "group": b"root:x:0:\nsandbox:x:1000:\n",
    "hostname": b"sandbox\n",
    "hosts": b"127.0.0.1 localhost sandbox\n::1 localhost\n",
    "nsswitch.conf": b"passwd: files\ngroup: files\nhosts: files\n",
}
# Of the host's own /etc: the loader's index, and what symbolic links in /usr lead to.
_SHARED_ETC: Final = ("ld.so.cache", "alternatives", "localtime", "protocols", "services", "mime.types")
_SYSTEM: Final = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_MOUNT_POINTS: Final = ("/proc", "/dev", "/tmp")  # noqa: S108 - a path inside


def root_entries(extra: Sequence[Entry] = (), *, host: Path = Path("/")) -> tuple[Entry, ...]:
    """The root folder of a sandbox.

    Args:
        extra: What is added, such as toolchains.
        host: The machine's root folder.

    Returns:
        What the fork server is to put there, in order.
    """
    entries: list[Entry] = [("folder", path, "") for path in _MOUNT_POINTS]
    entries.append(("bind", "/usr", str(host / "usr")))
    for name in _SYSTEM:
        path = host / name
        # Debian has merged these folders into /usr; where a system has not, they are folders of their own.
        if path.is_symlink():
            entries.append(("link", f"/{name}", str(path.readlink())))
        elif path.is_dir():
            entries.append(("bind", f"/{name}", str(path)))
    entries.append(("folder", "/etc", ""))
    entries.extend(("file", f"/etc/{name}", content) for name, content in _ETC.items())
    for name in _SHARED_ETC:
        path = host / "etc" / name
        if path.is_dir():
            entries.append(("bind", f"/etc/{name}", str(path)))
        elif path.is_file():
            entries.append(("copy", f"/etc/{name}", str(path)))
    return (*entries, *extra)
