"""Says what an image is made of, and by which labels one that is made can be told to be current."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from docker.errors import APIError

from xagent_core.abc.language import Language
from xagent_docker.daemon import Daemon

__all__ = ["LANGUAGE_LABEL", "PresentImage", "cache_folder", "inspect", "is_current", "runtime_labels"]

# Raised when images are made in another way, so that those made before are made anew.
_FORMAT: Final = 1

LANGUAGE_LABEL: Final = "xagent-runtime"
"""The label that says for which language an image is."""
_RECIPE: Final = "xagent-runtime.recipe"
_SUITE: Final = "xagent-runtime.suite"
_VERSIONS: Final = "xagent-runtime.versions"


@dataclass(frozen=True, kw_only=True, slots=True)
class PresentImage:
    """An image that the daemon has.

    Attributes:
        id: The daemon's name for it.
        size: Bytes, layers that it shares with others included.
        created: When it was made, RFC 3339.
        labels: Its labels.
    """

    id: str
    size: int
    created: str
    labels: Mapping[str, str]

    @property
    def versions(self) -> dict[str, str]:
        """The versions of what `xagent images build` put into it; empty for other images."""
        found: dict[str, str] = json.loads(self.labels.get(_VERSIONS, "{}"))
        return found

    @property
    def release(self) -> str:
        """The release that `xagent images build` made it of; empty for other images."""
        return self.labels.get(_SUITE, "")


def cache_folder(language: Language) -> str:
    """Where programs find what the language's setup script made, relative to the root."""
    return f"opt/xagent/{language.name}"


def runtime_labels(language: Language, *, suite: str, versions: Mapping[str, str]) -> dict[str, str]:
    """The labels of the image for a language.

    Args:
        language: The language.
        suite: The release it was made of.
        versions: Of the packages inside.
    """
    return {
        LANGUAGE_LABEL: language.name,
        _RECIPE: _recipe(language),
        _SUITE: suite,
        _VERSIONS: json.dumps(dict(versions), sort_keys=True),
    }


def is_current(image: PresentImage, language: Language, suite: str = "") -> bool:
    """Whether a build would make the image of the same parts again. Newer versions of them do not count.

    Args:
        image: The image.
        language: The language.
        suite: The release that it should be made of, if that matters.
    """
    wanted = {LANGUAGE_LABEL: language.name, _RECIPE: _recipe(language)} | ({_SUITE: suite} if suite else {})
    return wanted.items() <= image.labels.items()


async def inspect(daemon: Daemon, name: str) -> PresentImage | None:
    """Looks an image up; None where the daemon does not have it.

    Raises:
        BackendUnavailableError: The daemon does not answer.
    """
    try:
        found: Mapping[str, Any] = await daemon.call(f"inspect image {name}", daemon.client.inspect_image, name)
    except APIError:
        return None
    labels = (found.get("Config") or {}).get("Labels") or {}
    return PresentImage(id=found["Id"], size=found["Size"], created=found["Created"], labels=labels)


def _recipe(language: Language) -> str:
    packages = language.packages
    parts = [
        _FORMAT, sorted(packages.apt), sorted(packages.pip), sorted(packages.programs), packages.setup,
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]
