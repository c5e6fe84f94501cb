"""Builds the project's own runtime images, and gives them to the daemon."""

from __future__ import annotations

import asyncio
import os
import platform
import secrets
import tempfile
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from docker.api import APIClient
from docker.errors import APIError
from docker.utils import parse_repository_tag

from xagent_core.abc.language import Language, Packages
from xagent_core.containers.images import runtime_image
from xagent_core.errors import BackendError, XAgentError
from xagent_docker.daemon import Daemon
from xagent_docker.images.archive import image_config, save_format
from xagent_docker.images.debian import SANDBOX_ID
from xagent_docker.images.failures import COMPONENT, disk_full
from xagent_docker.images.layers import Layer, LayerWriter
from xagent_docker.images.parts import Parts
from xagent_docker.images.progress import Steps
from xagent_docker.images.recipe import LANGUAGE_LABEL, PresentImage, cache_folder, inspect, is_current, runtime_labels
from xagent_docker.images.setup_script import check_libraries, run_setup
from xagent_docker.images.sources import AptSource

__all__ = ["Outcome", "build_images"]

# The daemon answers a load when it has unpacked all of it.
_LOAD_SECONDS: Final = 900

# How Go, and so engines, call what the kernel calls otherwise.
_ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What became of one language's image.

    Attributes:
        language: The language's name.
        name: The image's name.
        built: Whether it was built now; otherwise it was current, or `error` says why not.
        image: The image that is there now.
        seconds: How long it took, waiting for parts that others use too included.
        error: Why it could not be built.
    """

    language: str
    name: str
    built: bool = False
    image: PresentImage | None = None
    seconds: float = 0.0
    error: XAgentError | None = field(default=None)


async def build_images(
    daemon: Daemon, languages: Iterable[Language], *, source: AptSource, steps: Steps, force: bool, suite: str = ""
) -> list[Outcome]:
    """Builds the images of several languages; one that fails does not keep the others from being built.

    Args:
        daemon: Gets the images.
        languages: The languages.
        source: Where Debian packages come from.
        steps: Shows what is going on.
        force: Whether images that are current are built as well, which brings newer versions of packages.
        suite: The release that an image must be made of to be current; empty for any.

    Returns:
        One outcome a language, in their order.

    Raises:
        BackendError: The daemon runs on another kind of machine.
        BackendUnavailableError: It does not answer.
    """
    architecture = _architecture(daemon)
    daemon.client.timeout = _LOAD_SECONDS
    # Not /tmp, which is often in memory.
    folder = os.environ.get("TMPDIR") or ("/var/tmp" if os.access("/var/tmp", os.W_OK) else None)  # noqa: S108
    with tempfile.TemporaryDirectory(prefix=f"xagent-images-{os.getpid()}-", dir=folder) as name:
        async with Parts(Path(name), source, steps) as parts:
            builder = _Builder(daemon, parts, Path(name), architecture=architecture, source=source, steps=steps)
            return list(await asyncio.gather(*(builder.outcome(item, force=force, suite=suite) for item in languages)))


class _Builder:
    def __init__(
        self, daemon: Daemon, parts: Parts, folder: Path, *, architecture: str, source: AptSource, steps: Steps
    ) -> None:
        self._daemon = daemon
        self._parts = parts
        self._folder = folder
        self._architecture = architecture
        self._source = source
        self._steps = steps
        # One at a time: the second then finds the layers that it shares with the first.
        self._loading = asyncio.Lock()

    async def outcome(self, language: Language, *, force: bool, suite: str) -> Outcome:
        name, started = runtime_image(language.name), time.monotonic()
        present = await inspect(self._daemon, name)
        if present and not force and is_current(present, language, suite):
            return Outcome(language=language.name, name=name, image=present)
        try:
            await self._build(language, name)
        except XAgentError as error:
            seconds = time.monotonic() - started
            return Outcome(language=language.name, name=name, image=present, seconds=seconds, error=error)
        await self._remove_replaced(language)
        image, seconds = await inspect(self._daemon, name), time.monotonic() - started
        return Outcome(language=language.name, name=name, built=True, image=image, seconds=seconds)

    async def _build(self, language: Language, name: str) -> None:
        if language.packages == Packages():
            raise BackendError(
                COMPONENT,
                f"the language {language.name} names no packages to make an image of",
                f"Use its default image: `xagent images pull {language.name}`."
                if language.image
                else "Name an image of your own in the backend's option `images`.",
            )
        assembled = await self._parts.assemble(language)
        layers = assembled.layers
        if language.packages.setup:
            layers = (*layers, await self._setup(language, layers))
        labels = runtime_labels(language, suite=self._source.suite, versions=assembled.versions)
        async with self._staged(language, layers, labels) as stage:
            await check_libraries(self._daemon, language, stage)
            # The name goes over in one step, and only to an image that works.
            repository, tag = parse_repository_tag(name)
            await self._daemon.call(f"name image {name}", self._daemon.client.tag, stage, repository, tag)

    async def _setup(self, language: Language, layers: Sequence[Layer]) -> Layer:
        with LayerWriter(self._folder / f"{language.name}.stage", "the folder for the setup script") as writer:
            writer.folder(cache_folder(language), owner=SANDBOX_ID)
        async with self._staged(language, (*layers, writer.layer), {}) as stage:
            with self._steps.step(f"Setup script of {language.name}"):
                return await run_setup(self._daemon, language, stage, self._folder / f"{language.name}.cache")

    @asynccontextmanager
    async def _staged(
        self, language: Language, layers: Sequence[Layer], labels: Mapping[str, str]
    ) -> AsyncIterator[str]:
        """An image under a name of its own, which it loses at the end; without another one it is gone then."""
        name = f"xagent-setup-{secrets.token_hex(8)}:stage"
        try:
            await self._load(language, layers, labels, name)
            yield name
        finally:
            await asyncio.shield(self._remove(name))

    async def _load(self, language: Language, layers: Sequence[Layer], labels: Mapping[str, str], name: str) -> None:
        created = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        config = image_config(architecture=self._architecture, created=created, labels=labels, layers=layers)
        async with self._loading:
            with self._steps.step(f"Handing the image of {language.name} to the daemon"):
                try:
                    await self._daemon.call(f"load image {name}", _load, self._daemon.client, config, layers, name)
                except BackendError as error:
                    if "no space left" in error.cause.lower():
                        raise disk_full("the daemon") from error
                    raise

    async def _remove_replaced(self, language: Language) -> None:
        """Removes earlier images of the language, which have lost their name; those still in use stay until later."""
        replaced = await self._daemon.call(
            "list replaced images",
            self._daemon.client.images,
            filters={"dangling": True, "label": f"{LANGUAGE_LABEL}={language.name}"},
        )
        for image in replaced:
            await self._remove(image["Id"])

    async def _remove(self, image: str) -> None:
        try:
            await self._daemon.call(f"remove image {image}", self._daemon.client.remove_image, image)
        except APIError:
            # Gone already, or sandboxes still run from it.
            return


def _load(client: APIClient, config: bytes, layers: Sequence[Layer], name: str) -> None:
    for line in client.load_image(save_format(config, layers, [name])):  # type: ignore[no-untyped-call]
        if "error" in line:
            raise APIError(line["error"], explanation=line["error"])


def _architecture(daemon: Daemon) -> str:
    """This machine's architecture, which must be the daemon's: what is built here runs there."""
    machine, there = platform.machine(), str(daemon.info.get("Architecture", ""))
    if there not in ("", machine, _ARCHITECTURES.get(machine)):  # Docker says x86_64, Podman amd64
        raise BackendError(
            COMPONENT,
            f"the daemon's machine is {there} and this one is {machine}, so what is built here would not run there",
            "Run `xagent images build` on the daemon's machine, or use `xagent images pull`.",
        )
    return _ARCHITECTURES.get(machine, machine)
