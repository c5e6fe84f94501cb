"""Says which images there are for each language, and which one its sandboxes use."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from xagent_core.abc.language import Language
from xagent_core.containers.images import runtime_image
from xagent_docker.daemon import Daemon
from xagent_docker.images.recipe import PresentImage, inspect, is_current

__all__ = ["LanguageImages", "Slot", "take_stock"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Slot:
    """An image that a language may use.

    Attributes:
        name: Its name.
        present: The image, where the daemon has it.
        current: Whether `xagent images build` would leave it as it is; None for images that it does not make.
    """

    name: str
    present: PresentImage | None
    current: bool | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class LanguageImages:
    """The images of one language.

    Attributes:
        language: Its name.
        default: The official image that the language's plugin names; None where it names none.
        own: What `xagent images build` makes.
        chosen: What the user's configuration names, which goes before all others; None where it names none.
    """

    language: str
    default: Slot | None
    own: Slot
    chosen: Slot | None = None

    @property
    def used(self) -> Slot | None:
        """The one that a sandbox would use, which may have to be pulled first; None where there is none at all."""
        if self.chosen:
            return self.chosen
        return self.own if self.own.present else self.default

    @property
    def used_name(self) -> str | None:
        """Its name."""
        return self.used.name if self.used else None


async def take_stock(daemon: Daemon, languages: Iterable[Language], chosen: Mapping[str, str]) -> list[LanguageImages]:
    """Looks up the images of several languages.

    Args:
        daemon: Where to look.
        languages: The languages.
        chosen: Images by language, from the backend's option `images`.

    Raises:
        BackendUnavailableError: The daemon does not answer.
    """
    stock = []
    for language in languages:
        own = await inspect(daemon, name := runtime_image(language.name))
        named = chosen.get(language.name)
        stock.append(
            LanguageImages(
                language=language.name,
                default=Slot(name=language.image, present=await inspect(daemon, language.image))
                if language.image
                else None,
                own=Slot(name=name, present=own, current=is_current(own, language) if own else False),
                chosen=Slot(name=named, present=await inspect(daemon, named)) if named else None,
            )
        )
    return stock
