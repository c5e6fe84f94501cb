"""Reads where this machine's apt gets its packages, so that images come from there too, a local mirror included."""

from __future__ import annotations

import platform
import re
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["DEFAULT_SUITE", "AptSource", "machine_source", "named_source"]

DEFAULT_SUITE: Final = "bookworm"
"""The release that images are made of on machines that are neither Debian nor Ubuntu."""

# What decides whether apt reaches its mirror; the rest of the machine's configuration is none of an image's business.
_APT_OPTIONS: Final = ("Acquire::http", "Acquire::https", "Acquire::Check-Date", "Acquire::Check-Valid-Until")

# The components of the distributions' own archives; other repositories that use the same suite names have others.
_COMPONENTS: Final = frozenset({"main", "universe", "restricted", "multiverse", "contrib", "non-free"})

_ONE_LINE: Final = re.compile(
    r"deb\s+(?:\[(?P<options>[^]]*)\]\s+)?(?P<uri>\S+)\s+(?P<suite>\S+)\s+(?P<components>[^#]+)"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class AptSource:
    """Where Debian packages come from.

    Attributes:
        suite: The release's code name.
        lines: Lines of a `sources.list`; none means the distribution's own servers.
        options: Lines of an `apt.conf`: proxies, certificates and the like. They never get into an image.
    """

    suite: str
    lines: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


def machine_source(root: Path = Path("/")) -> AptSource:
    """The release and the mirrors that this machine itself uses.

    Only the distribution's own archive counts: what else is installed from elsewhere has no place in an image.

    Args:
        root: Where to look for `etc`.

    Returns:
        The source; that of `DEFAULT_SUITE` where the machine is neither Debian nor Ubuntu.
    """
    try:
        release = platform.freedesktop_os_release() if root == Path("/") else _os_release(root / "etc/os-release")
    except OSError:
        release = {}
    if release.get("ID") not in ("debian", "ubuntu") or not release.get("VERSION_CODENAME"):
        return named_source(DEFAULT_SUITE)
    suite = release["VERSION_CODENAME"]
    return AptSource(suite=suite, lines=tuple(_machine_lines(root / "etc/apt", suite)), options=_apt_options())


def named_source(suite: str, mirror: str = "") -> AptSource:
    """A release by name, from its distribution's own servers or from a mirror.

    Args:
        suite: Its code name.
        mirror: An address (`http://...`, `file:///...`), or a whole line of a `sources.list`.
    """
    lines = (mirror if mirror.startswith("deb ") else f"deb {mirror} {suite} main",) if mirror else ()
    return AptSource(suite=suite, lines=lines, options=_apt_options())


def _machine_lines(folder: Path, suite: str) -> Iterator[str]:
    parts = folder / "sources.list.d"
    for path in (folder / "sources.list", *sorted(parts.glob("*.list")), *sorted(parts.glob("*.sources"))):
        if not path.is_file():
            continue
        text = path.read_text("utf-8", "replace")
        for options, uri, name, components in _stanzas(text) if path.suffix == ".sources" else _one_liners(text):
            own = [component for component in components if component in _COMPONENTS]
            if own and (name == suite or name.startswith(f"{suite}-")):
                yield f"deb {f'[{options}] ' if options else ''}{uri} {name} {' '.join(own)}"


def _one_liners(text: str) -> Iterator[tuple[str, str, str, list[str]]]:
    for line in text.splitlines():
        if match := _ONE_LINE.match(line.strip()):
            yield match["options"] or "", match["uri"], match["suite"], match["components"].split()


def _stanzas(text: str) -> Iterator[tuple[str, str, str, list[str]]]:
    """The lines that a deb822 file stands for: sources.list(5)."""
    for stanza in re.split(r"\n\s*\n", re.sub(r"(?m)^#.*\n?", "", text)):
        fields = {name.lower(): value.strip() for name, value in re.findall(r"(?m)^([\w-]+):((?:.|\n[ \t])*)", stanza)}
        if "deb" not in fields.get("types", "").split() or fields.get("enabled", "yes").lower() in ("no", "false"):
            continue
        key = fields.get("signed-by", "")
        # A key that is written into the file itself is the distribution's own, which apt trusts anyway.
        options = f"signed-by={','.join(key.split())}" if key and "\n" not in key else ""
        for uri in fields.get("uris", "").split():
            for suite in fields.get("suites", "").split():
                yield options, uri, suite, fields.get("components", "").split()


def _apt_options() -> tuple[str, ...]:
    try:
        dump = subprocess.run(["apt-config", "dump", *_APT_OPTIONS], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ()
    return tuple(_with_value(dump.stdout.splitlines()))


def _with_value(lines: Iterable[str]) -> Iterator[str]:
    return (line for line in lines if not line.endswith('"";'))


def _os_release(path: Path) -> dict[str, str]:
    lines = (line.partition("=") for line in path.read_text("utf-8").splitlines())
    return {name: value.strip("\"'") for name, _, value in lines}
