"""Makes minimal Debian roots with mmdebstrap, and layers of them that hold nothing of this machine."""

from __future__ import annotations

import asyncio
import copy
import hashlib
import os
import re
import tarfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from xagent_core.errors import BackendError
from xagent_docker.images.failures import COMPONENT, disk_full, naming_a_full_disk
from xagent_docker.images.layers import EPOCH, Layer, LayerWriter, parents
from xagent_docker.images.processes import run_program
from xagent_docker.images.sources import AptSource

__all__ = ["BASE_PACKAGES", "SANDBOX_ID", "Root", "bootstrap", "difference", "root_layer"]

BASE_PACKAGES: Final = ("libstdc++6",)
"""What every image has beside the essential packages: the one library outside them that the wheels of command line
programs link to, as wheels for Linux may (PEP 600, and the list of libraries that auditwheel goes by)."""

SANDBOX_ID: Final = 1000
"""The user and group id of `sandbox`, the user that programs run as."""

_HOOKS: Final = Path("/usr/share/mmdebstrap/hooks/maybe-merged-usr")

# Where mmdebstrap and apt leave caches, logs, and the names, mirrors and proxies of the machine that built the root;
# and what only a reader would open. Folders themselves stay.
_LEFT_OUT: Final = re.compile(
    r"(boot|dev|proc|run|sys|tmp|var/cache|var/log|var/tmp|var/lib/apt|etc/apt)/.+"
    r"|etc/(hostname|hosts|resolv\.conf|machine-id|(passwd|group|shadow|gshadow)-)"
    r"|etc/dpkg/dpkg\.cfg\.d/.*|var/lib/dpkg/.*(-old|[Ll]ock.*)"
    r"|usr/share/(man|info|locale|lintian|doc-base)/.+"
    r"|usr/share/doc/.*(?<!/copyright)"
)
# For speed: the root is read once and thrown away, so that it need not survive a power cut, and what is left out is
# not even unpacked. The licences stay, as whoever hands an image on must hand them on.
_DPKG_OPTIONS: Final = (
    "force-unsafe-io",
    "path-exclude=/usr/share/man/*",
    "path-exclude=/usr/share/info/*",
    "path-exclude=/usr/share/locale/*",
    "path-exclude=/usr/share/doc/*",
    "path-include=/usr/share/doc/*/copyright",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Entry:
    """A member of a root: as it goes into a layer, as it was read, and a digest of what it holds."""

    member: tarfile.TarInfo
    source: tarfile.TarInfo
    digest: str

    def same_as(self, other: _Entry | None) -> bool:
        """Whether both would look the same inside; the time of modification does not count."""
        return other is not None and (self.digest, *_looks(self.member)) == (other.digest, *_looks(other.member))


@dataclass(frozen=True, kw_only=True, slots=True)
class Root:
    """A Debian root.

    Attributes:
        archive: What mmdebstrap wrote.
        packages: The version of each Debian package that is installed in it.
    """

    archive: Path
    packages: Mapping[str, str]
    _entries: Mapping[str, _Entry] = field(repr=False)
    _rewritten: Mapping[str, bytes] = field(repr=False)

    def has_program(self, name: str) -> bool:
        """Whether a program of that name is on the PATH inside."""
        return any(f"{folder}/{name}" in self._entries for folder in ("usr/bin", "bin", "usr/sbin", "sbin"))


async def bootstrap(source: AptSource, packages: Sequence[str], archive: Path) -> Root:
    """Makes a root of Debian's essential packages and some more. It takes 10 to 20 s and the network.

    Args:
        source: The release and where to get it.
        packages: Debian packages beside the essential ones.
        archive: Where to write the root.

    Returns:
        The root.

    Raises:
        BackendError: mmdebstrap is missing or failed, or the disk is full.
    """
    command = ["mmdebstrap", "--variant=essential", "--format=tar"]
    # Without it, Debian 12 installs all of Perl to move /bin into /usr.
    command += [f"--hook-dir={_HOOKS}"] if _HOOKS.is_dir() else []
    command += [f"--include={','.join(packages)}"] if packages else []
    command += [f"--dpkgopt={option}" for option in _DPKG_OPTIONS]
    command += [f"--aptopt={option}" for option in (*source.options, 'Acquire::Languages "none"')]
    started = int(time.time())
    try:
        done = await run_program(
            [*command, source.suite, str(archive), *source.lines], env={**os.environ, "LC_ALL": "C"}
        )
    except FileNotFoundError as error:
        raise BackendError(
            COMPONENT,
            "mmdebstrap is not installed, and images are built on what it makes",
            "Install it (`apt-get install mmdebstrap` on Debian and Ubuntu), or use `xagent images pull`.",
        ) from error
    if done.status != 0:
        raise _failure(done.log, source, packages)
    with naming_a_full_disk(f"the temporary folder {archive.parent}"):
        return await asyncio.to_thread(_read, archive, started)


def root_layer(root: Root, path: Path) -> Layer:
    """All of a root as a layer.

    Args:
        root: The root.
        path: Where to write the layer.
    """
    return _write(root, list(root._entries), (), path, "the essential packages of Debian")  # noqa: SLF001


def difference(root: Root, base: Root, packages: Sequence[str], path: Path) -> Layer:
    """What a root has beyond another, as a layer on top of that.

    Args:
        root: The greater root.
        base: The lesser one.
        packages: The Debian packages that were asked for, for the image's history.
        path: Where to write the layer.
    """
    changed = {name for name, entry in root._entries.items() if not entry.same_as(base._entries.get(name))}  # noqa: SLF001
    gone = [name for name in base._entries if name not in root._entries]  # noqa: SLF001
    outermost = [name for name in gone if not set(parents(name)) & set(gone)]
    # Folders go before what is in them, with their own modes.
    names = {folder for name in changed for folder in (*parents(name), name)}
    in_order = [name for name in root._entries if name in names]  # noqa: SLF001
    return _write(root, in_order, outermost, path, f"Debian packages {' '.join(packages)}")


def _read(archive: Path, started: int) -> Root:
    entries: dict[str, _Entry] = {}
    rewritten: dict[str, bytes] = {}
    status = ""
    with tarfile.open(archive, "r:") as tar:
        for source in tar:
            name = _clean(source.name)
            if not name or source.isdev() or _LEFT_OUT.fullmatch(name):
                continue
            member = copy.copy(source)
            member.name, member.uname, member.gname, member.pax_headers = name, "", "", {}
            member.mode &= 0o1777  # nothing inside may change its user
            # Times of files from packages stay, as compiled Python refers to them; those of today would make
            # every build a new one.
            member.mtime = EPOCH if member.mtime >= started else int(member.mtime)
            digest = ""
            if source.isreg() or source.islnk():
                file = tar.extractfile(source)
                content = file.read() if file else b""
                if name in _ACCOUNTS:
                    content = rewritten[name] = _ACCOUNTS[name](content)
                    member.size = len(content)
                if name == "var/lib/dpkg/status":
                    status = content.decode("utf-8", "replace")
                digest = hashlib.sha256(content).hexdigest()
            if source.islnk():
                member.linkname = _clean(source.linkname)
            entries[name] = _Entry(member=member, source=source, digest=digest)
    packages = dict(re.findall(r"(?m)^Package: (\S+)\n(?:.+\n)*?Version: (\S+)$", status))
    return Root(archive=archive, packages=packages, _entries=entries, _rewritten=rewritten)


def _write(root: Root, names: Sequence[str], gone: Sequence[str], path: Path, origin: str) -> Layer:
    with (
        naming_a_full_disk(f"the temporary folder {path.parent}"),
        LayerWriter(path, origin) as layer,
        tarfile.open(root.archive, "r:") as tar,
    ):
        written: set[str] = set()
        for name in names:
            entry = root._entries[name]  # noqa: SLF001
            member = entry.member
            if name in root._rewritten:  # noqa: SLF001
                layer.file(name, root._rewritten[name])  # noqa: SLF001
            elif member.islnk() and member.linkname not in written:
                # Its other name is in the layer below, where a link cannot reach.
                whole = copy.copy(member)
                content = root._entries[member.linkname]  # noqa: SLF001
                whole.type, whole.linkname, whole.size = tarfile.REGTYPE, "", content.member.size
                # Not by way of the link: up to Python 3.11.3 that takes members of this very TarFile only.
                layer.add(whole, tar.extractfile(content.source))
            else:
                layer.add(member, tar.extractfile(entry.source) if member.isreg() else None)
            written.add(name)
        layer.remove(gone)
    return layer.layer


def _looks(member: tarfile.TarInfo) -> tuple[object, ...]:
    kind = tarfile.REGTYPE if member.islnk() else member.type
    return kind, member.mode, member.uid, member.gid, member.linkname if member.issym() else ""


def _clean(name: str) -> str:
    return name.removeprefix("./").strip("/") if name != "." else ""


def _with_sandbox_user(content: bytes) -> bytes:
    return content + f"sandbox:x:{SANDBOX_ID}:{SANDBOX_ID}::/tmp/work:/bin/sh\n".encode()


def _with_sandbox_group(content: bytes) -> bytes:
    return content + f"sandbox:x:{SANDBOX_ID}:\n".encode()


def _without_dates(content: bytes) -> bytes:
    """shadow(5) without the day of the last change, which is the day of the build."""
    return re.sub(rb"(?m)^([^:\n]*:[^:\n]*):\d+:", rb"\1::", content)


_ACCOUNTS: Final = {
    "etc/passwd": _with_sandbox_user,
    "etc/group": _with_sandbox_group,
    "etc/shadow": _without_dates,
}


def _failure(log: str, source: AptSource, packages: Sequence[str]) -> BackendError:
    # Only the words of the programs that mmdebstrap runs; that they failed is known.
    errors = [
        line[3:] for line in log.splitlines() if re.match(r"E: (?!setup failed|mmdebstrap failed|apt-get )", line)
    ]
    cause = "; ".join(errors[:2]) or log.strip()[-500:] or "mmdebstrap gave no reason"
    if "No space left on device" in log:
        return disk_full("mmdebstrap's temporary folder")
    if missing := re.findall(r"Unable to locate package (\S+)|Package '?(\S+?)'? has no installation candidate", log):
        names = ", ".join(sorted({first or second for first, second in missing}))
        return BackendError(
            COMPONENT,
            f"{source.suite} has no package {names}",
            "Choose another release with --suite, or mend the language's list of Debian packages.",
        )
    if re.search(r"unable to pick chroot mode|newuidmap|newgidmap|/etc/sub[ug]id|CLONE_NEWUSER|unshare", cause):
        return BackendError(
            COMPONENT,
            f"mmdebstrap cannot work as this user: {cause}",
            "Install `uidmap`, give the user a range in /etc/subuid and /etc/subgid (`usermod --add-subuids "
            "100000-165535 --add-subgids 100000-165535 USER`), or run the command as root.",
        )
    if re.search(
        r"Could not resolve|Could not connect|Failed to fetch|Unable to connect|Connection (failed|timed)", log
    ):
        return BackendError(
            COMPONENT,
            f"Debian's packages cannot be fetched: {cause}",
            "Check the network and apt's own sources and proxies (`apt-get update` must work), or name a mirror with "
            "--mirror.",
        )
    wanted = f" with {' '.join(packages)}" if packages else ""
    return BackendError(COMPONENT, f"mmdebstrap cannot make {source.suite}{wanted}: {cause}", "")
