"""Chooses the image of a sandbox, and pulls it on first use."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from xagent_core.abc.backend import SandboxSpec
from xagent_core.abc.language import Packages
from xagent_core.containers.advice import without_registry
from xagent_core.errors import ImageNotFoundError

if TYPE_CHECKING:
    from xagent_core.containers.service import Service

__all__ = ["Image", "ImageChoice", "runtime_image"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Image:
    """An image that is present.

    Attributes:
        name: As the service knows it.
        volumes: The paths that it declares as volumes.
    """

    name: str
    volumes: tuple[str, ...] = ()


def runtime_image(language: str) -> str:
    """The name of xagent's own image for a language, which `xagent images build` makes."""
    return f"xagent-runtime-{re.sub('[^a-z0-9]+', '-', language.lower()).strip('-')}:latest"


class ImageChoice:
    """Remembers which image is used for what.

    Args:
        images: The user's own choice, by language.
        pull: Whether missing images are pulled.
    """

    def __init__(self, images: Mapping[str, str], *, pull: bool) -> None:
        self._images = images
        self._pull = pull
        self._known: dict[tuple[str, str], Image] = {}
        self._finding = asyncio.Lock()

    async def find(self, service: Service, spec: SandboxSpec) -> Image:
        """The image for a sandbox: the user's choice, else the project's own for the language, else the spec's.

        Raises:
            ImageNotFoundError: It is not there and was not pulled.
            BackendUnavailableError: The service does not answer.
        """
        key = (spec.language, spec.image)
        if key in self._known:
            return self._known[key]
        # One at a time: the second who misses an image waits for the first one's pull.
        async with self._finding:
            if key not in self._known:
                self._known[key] = await self._find(service, spec)
            return self._known[key]

    def forget(self, spec: SandboxSpec) -> None:
        """To be called when the service says that the image is gone."""
        self._known.pop((spec.language, spec.image), None)

    async def _find(self, service: Service, spec: SandboxSpec) -> Image:
        chosen = self._images.get(spec.language)
        candidates = [chosen] if chosen else [name for name in (runtime_image(spec.language), spec.image) if name]
        for name in candidates:
            if image := await service.image(name):
                return image
        wanted, backend = chosen or spec.image, service.advice.component
        # One that is built takes the place of the language's own image, and not of one that the user has chosen.
        builds = () if chosen or spec.packages == Packages() else (spec.language,)
        instead = without_registry(wanted, backend, builds=builds)
        if not wanted:
            fix = f"{instead[0].upper()}{instead[1:]}."
            raise ImageNotFoundError(backend, f"there is no image for {spec.language}", fix)
        if not self._pull:
            fix = f"Switch it on (`pull` in the table [backends.{backend}]), or {instead}."
            raise ImageNotFoundError(backend, f"image {wanted} is not present, and pulling is switched off", fix)
        logger.warning("image %s is not present and is being pulled; this may take minutes", wanted)
        await service.pull(wanted, f"Check the network and the proxy of the service, or {instead}.")
        if image := await service.image(wanted):
            return image
        cause = f"image {wanted} is not present although it was pulled"
        raise ImageNotFoundError(backend, cause, f"Try again, or {instead}.")
