"""Makes the parts of images, each once, however many languages want it."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from xagent_core.abc.language import Language
from xagent_core.errors import BackendError
from xagent_docker.images.debian import BASE_PACKAGES, Root, bootstrap, difference, root_layer
from xagent_docker.images.failures import COMPONENT
from xagent_docker.images.layers import Layer, LayerWriter
from xagent_docker.images.progress import Steps
from xagent_docker.images.sources import AptSource
from xagent_docker.images.wheels import Wheel, fetch_wheel, project_name

__all__ = ["Assembled", "Parts"]

T = TypeVar("T")

# Unpacking is work for the processor and the disk; more at once only needs more space.
_AT_ONCE: Final = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Assembled:
    """What an image is stacked from, the setup script's layer excepted.

    Attributes:
        layers: From the lowest up. What languages share comes first, since engines share only whole beginnings.
        versions: The versions of the packages that were asked for.
    """

    layers: tuple[Layer, ...]
    versions: Mapping[str, str]


class Parts:
    """The parts of one build. It is an async context manager: at its end nothing is being made any more.

    Args:
        folder: For temporary files.
        source: Where Debian packages come from.
        steps: Shows what is going on.
    """

    def __init__(self, folder: Path, source: AptSource, steps: Steps) -> None:
        self._folder = folder
        self._source = source
        self._steps = steps
        self._made: dict[str, asyncio.Task[Any]] = {}
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for task in self._made.values():
            task.cancel()
        await asyncio.gather(*self._made.values(), return_exceptions=True)

    async def assemble(self, language: Language) -> Assembled:
        """Makes what the language's packages name.

        Raises:
            BackendError: A part cannot be had, or one of the language's programs is in none of them.
        """
        packages = language.packages
        (base, base_layer), wheels = await asyncio.gather(
            self._base(), asyncio.gather(*(self._wheel(item) for item in sorted(packages.pip)))
        )
        # What is there anyway needs no root of its own.
        extra = tuple(sorted(set(packages.apt) - set(base.packages)))
        root, *debian = await self._debian(extra) if extra else (base,)
        layers = [base_layer, *(wheel.layer for wheel in wheels), *debian]
        if packages.programs:
            layers.append(self._links(language, wheels))
        for program in language.executables:
            if not root.has_program(program) and program not in dict(packages.programs):
                raise BackendError(
                    COMPONENT,
                    f"none of the packages of {language.name} has its program {program}",
                    "The language's plugin must name it among its packages; until then use `xagent images pull`.",
                )
        versions = {name: root.packages[name] for name in ("base-files", *packages.apt) if name in root.packages}
        versions |= {wheel.name: wheel.version for wheel in wheels}
        return Assembled(layers=tuple(layers), versions=versions)

    async def _base(self) -> tuple[Root, Layer]:
        async def make() -> tuple[Root, Layer]:
            with self._steps.step(f"Minimal Debian ({self._source.suite})"):
                root = await bootstrap(self._source, BASE_PACKAGES, self._folder / "base.tar")
                return root, await asyncio.to_thread(root_layer, root, self._folder / "base.layer")

        return await self._once("base", make)

    async def _debian(self, packages: Sequence[str]) -> tuple[Root, Layer]:
        async def make() -> tuple[Root, Layer]:
            base = (await self._base())[0]
            async with self._turns:
                with self._steps.step(f"Debian packages: {', '.join(packages)}"):
                    root = await bootstrap(
                        self._source, (*BASE_PACKAGES, *packages), self._folder / f"{secrets.token_hex(4)}.tar"
                    )
                    path = root.archive.with_suffix(".layer")
                    layer = await asyncio.to_thread(difference, root, base, packages, path)
                    root.archive.unlink()
                    return root, layer

        return await self._once(f"debian {packages}", make)

    async def _wheel(self, requirement: str) -> Wheel:
        async def make() -> Wheel:
            async with self._turns:
                with self._steps.step(f"Wheel: {requirement}"):
                    return await fetch_wheel(requirement, self._folder / f"wheel-{project_name(requirement)}")

        return await self._once(f"wheel-{requirement}", make)

    def _links(self, language: Language, wheels: Sequence[Wheel]) -> Layer:
        with LayerWriter(self._folder / f"{language.name}.links", "links to the programs in wheels") as layer:
            for program, path in language.packages.programs:
                wheel = next((wheel for wheel in wheels if path in wheel.files), None)
                if wheel is None or not wheel.files[path]:
                    lacks = "cannot be executed there" if wheel else "is in none of the wheels"
                    names = ", ".join(f"{wheel.name} {wheel.version}" for wheel in wheels) or "none"
                    raise BackendError(
                        COMPONENT,
                        f"the program {program} of {language.name} should be {path}, which {lacks} ({names})",
                        "The wheel has changed: upgrade the language's plugin, or tell its author.",
                    )
                layer.link(f"usr/local/bin/{program}", f"/{wheel.folder}/{path}")
        return layer.layer

    async def _once(self, key: str, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The result of the first call with that key; a caller who is cancelled does not cancel it for the others."""
        if key not in self._made:
            self._made[key] = asyncio.create_task(make())
        made: Awaitable[T] = self._made[key]
        return await asyncio.shield(made)
