"""The engines of a server: one for each backend that somebody uses, opened when that happens first."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any, Final, Self

from xagent_core.cli.survey import close, survey
from xagent_core.config import Settings
from xagent_core.engine import Engine
from xagent_core.errors import XAgentError
from xagent_core.plugins import Plugins

__all__ = ["Engines"]

# Whether a backend answers is asked at most so often, however often the server is asked.
_FRESH_SECONDS: Final = 5.0
_PROBE_SECONDS: Final = 10.0


class Engines:
    """Engines by backend. Use it as an async context manager: entering it opens the first, leaving it closes all.

    Args:
        backend: The first one's; None for what the settings say.
        settings: Of all of them.
        plugins: What is installed.
    """

    def __init__(self, backend: str | None, *, settings: Settings, plugins: Plugins) -> None:
        self.settings = settings
        self.plugins = plugins
        self.first = Engine(backend, settings=settings, plugins=plugins)
        self._open: dict[str, Engine] = {}
        self._opening = asyncio.Lock()
        self._looking = asyncio.Lock()
        self._stack = AsyncExitStack()
        self._seen: tuple[float, list[dict[str, Any]]] | None = None
        self._ready: tuple[float, str] | None = None

    async def __aenter__(self) -> Self:
        """Opens the first engine.

        Raises:
            XAgentError: What `Engine` raises.
        """
        await self._stack.enter_async_context(self.first)
        self._open[self.first.backend.name] = self.first
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self._stack.aclose()

    async def get(self, backend: str | None) -> Engine:
        """The engine of a backend; the first one where None is named.

        Raises:
            UnknownPluginError: There is no such backend.
            BackendUnavailableError: It cannot be used here.
        """
        if backend is None:
            return self.first
        name = self.plugins.backends[backend].name
        async with self._opening:
            if name not in self._open:
                engine = Engine(name, settings=self.settings, plugins=self.plugins)
                self._open[name] = await self._stack.enter_async_context(engine)
        return self._open[name]

    async def trouble(self) -> str:
        """Why the first engine's backend does not answer now; empty where it does."""
        async with self._looking:
            now = asyncio.get_running_loop().time()
            if self._ready is None or now - self._ready[0] > _FRESH_SECONDS:
                self._ready = (now, await self._probe())
            return self._ready[1]

    async def _probe(self) -> str:
        try:
            async with asyncio.timeout(_PROBE_SECONDS):
                probe = await self.first.backend.probe()
        except TimeoutError:
            return f"{self.first.backend.name} did not answer within {_PROBE_SECONDS:g} s"
        except XAgentError as error:
            return str(error)
        return "" if probe.available else str(probe.error(self.first.backend.name))

    async def health(self) -> list[dict[str, Any]]:
        """What every installed backend says of itself, as `xagent backends --json` does."""
        async with self._looking:
            now = asyncio.get_running_loop().time()
            if self._seen is None or now - self._seen[0] > _FRESH_SECONDS:
                reports = await survey(self.plugins, self.settings)
                await close(reports)
                self._seen = (now, [report.document() for report in reports])
            return self._seen[1]
