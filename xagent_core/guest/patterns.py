"""Patterns of files to bring back: what they match, and how `find` is asked for no less than that."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

__all__ = ["find_pattern", "matches"]


def matches(path: str, patterns: Iterable[str]) -> bool:
    """Whether a path matches one of the patterns.

    Args:
        path: Relative to the workspace.
        patterns: In each part between slashes `*`, `?` and `[...]`; `**` stands for any number of folders.

    Returns:
        True when one matches the whole path. The work grows with path times pattern, whatever both are.
    """
    names = path.split("/")
    return any(_matches(names, pattern.split("/")) for pattern in patterns)


def _matches(names: Sequence[str], parts: Sequence[str]) -> bool:
    places = _with_skips({0}, parts)
    for name in names:
        reached = set()
        for place in places - {len(parts)}:
            if parts[place] == "**":
                reached |= {place, place + 1}
            elif fnmatchcase(name, parts[place]):
                reached.add(place + 1)
        places = _with_skips(reached, parts)
    return len(parts) in places


def _with_skips(places: set[int], parts: Sequence[str]) -> set[int]:
    """The places in a pattern, and those behind each `**` that matches nothing; the last part matches something."""
    for place in sorted(places):
        behind = place
        while behind < len(parts) - 1 and parts[behind] == "**":
            behind += 1
            places.add(behind)
    return places


def find_pattern(pattern: str) -> str:
    """The argument of `find -path`, whose `*` also matches slashes, for a superset of what `pattern` matches."""
    plain = pattern.replace("**/", "*")
    # Shells, find and Python do not agree on what brackets and backslashes mean.
    cut = min((at for at in map(plain.find, "[\\") if at >= 0), default=None)
    return f"./{plain}" if cut is None else f"./{plain[:cut]}*"
