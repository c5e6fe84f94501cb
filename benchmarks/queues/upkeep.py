"""What a queue costs beside time: what it brings along, and who looks after it."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

__all__ = ["Upkeep", "upkeep"]

_INDEX: Final = "https://pypi.org/pypi/{}/json"
_YEAR: Final = 365 * 86400

_INSTALLED: Final = """
import importlib.metadata, json, pathlib
found = list(importlib.metadata.distributions())
files = (file for file in pathlib.Path(found[0].locate_file('')).rglob('*') if file.is_file() and file.suffix != '.pyc')
size = sum(file.stat().st_size for file in files)
print(json.dumps({'count': len(found), 'bytes': size, 'versions': {d.name: d.version for d in found}}))
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Upkeep:
    """Facts of one distribution.

    Attributes:
        name: As PyPI calls it.
        version: The one that was measured.
        installed: Distributions in an environment with nothing else in it.
        megabytes: Of that environment.
        released: The day of the latest release.
        first: The day of the first.
        lately: Releases within a year.
        authors: Whom its metadata names.
        status: Its own word on how far it is.
    """

    name: str
    version: str
    installed: int
    megabytes: float
    released: str = "?"
    first: str = "?"
    lately: int = 0
    authors: str = "?"
    status: str = ""


def upkeep(name: str, python: Path) -> Upkeep:
    """Reads the environment, and what PyPI knows; without a network the latter is left out."""
    done = subprocess.run([python, "-c", _INSTALLED], capture_output=True, text=True, check=True)
    here = json.loads(done.stdout)
    known = {
        "name": name,
        "version": here["versions"][name],
        "installed": here["count"],
        "megabytes": here["bytes"] / 2**20,
    }
    try:
        with urllib.request.urlopen(_INDEX.format(name), timeout=30) as answer:  # noqa: S310
            page = json.load(answer)
    except urllib.error.URLError:
        return Upkeep(**known)
    return Upkeep(**known, **_published(page))


def _published(page: dict[str, Any]) -> dict[str, Any]:
    days = sorted(files[0]["upload_time"][:10] for files in page["releases"].values() if files)
    recent = time.strftime("%Y-%m-%d", time.gmtime(time.time() - _YEAR))
    info = page["info"]
    people = (info[key] or "" for key in ("author", "maintainer", "author_email", "maintainer_email"))
    words = [line.partition(" :: ")[2] for line in info["classifiers"] if line.startswith("Development Status")]
    if "maintenance only" in (info.get("description") or "").lower():
        words.append("its README: in maintenance only")
    return {
        "released": days[-1],
        "first": days[0],
        "lately": sum(day > recent for day in days),
        "authors": ", ".join(sorted({name for person in people for name in _names(person)})),
        "status": ", ".join(words),
    }


def _names(people: str) -> list[str]:
    """The names in a list of people, without their addresses."""
    names = (part.split("<")[0].strip(' "') for part in people.split(","))
    return [name for name in names if name and "@" not in name]
