"""The search provider that needs no server and no key: public search engines, by the library ddgs."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Self

import anyio.to_thread
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from xagent_core.abc.search import SearchHit, SearchProvider, SearchQuery
from xagent_tools_web.errors import WebError
from xagent_tools_web.settings import checked

__all__ = ["Ddgs"]

_NO_REGION: Final = "wt-wt"


class DdgsSettings(BaseModel):
    """The table `[tools.web_search.ddgs]`.

    Attributes:
        backend: The engines to ask, separated by commas, as ddgs calls them; `auto` for those that it thinks best.
        region: Where a search does not name one: `us-en`, `ch-de`; `wt-wt` for everywhere.
        safe_search: How much is kept away.
        timeout: Seconds for one engine.
        proxy: The way to the engines, where there is no direct one: http, https or socks5.
        ca_file: Certificates of authorities to trust, in PEM, instead of the usual ones.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    backend: str = "duckduckgo, brave, mojeek, wikipedia"
    region: str = Field(default=_NO_REGION, pattern=r"^[a-z]{2}-[a-z]{2}$")
    safe_search: str = Field(default="moderate", pattern="^(on|moderate|off)$")
    timeout: int = Field(default=10, ge=1, le=60)
    proxy: SecretStr | None = None
    ca_file: Path | None = None


class Ddgs(SearchProvider):
    """Asks public search engines.

    Args:
        settings: Which ones, and how.
    """

    def __init__(self, settings: DdgsSettings) -> None:
        self._settings = settings

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Self:
        """Reads the options.

        Raises:
            ConfigError: One of them cannot be used.
        """
        return cls(checked(DdgsSettings, options, "tools.web_search.ddgs"))

    async def search(self, query: SearchQuery) -> Sequence[SearchHit]:
        """Asks the engines, in a thread: the library blocks."""
        return await anyio.to_thread.run_sync(self._search, query, abandon_on_cancel=True)

    def _search(self, query: SearchQuery) -> Sequence[SearchHit]:
        from ddgs import DDGS
        from ddgs.exceptions import DDGSException

        settings = self._settings
        client = DDGS(
            proxy=settings.proxy.get_secret_value() if settings.proxy else None,
            timeout=settings.timeout,
            verify=str(settings.ca_file) if settings.ca_file else True,
        )
        started = time.monotonic()
        try:
            found = client.text(
                query.text,
                region=_region(query.language) or settings.region,
                safesearch=settings.safe_search,
                timelimit=query.period[0] if query.period else None,
                max_results=query.limit,
                page=query.page,
                backend=settings.backend,
            )
        except DDGSException as error:
            # The library says so too of engines that it has not waited for.
            if "No results found" in str(error) and time.monotonic() - started < settings.timeout:
                return []
            # The library's own text may have the address with the whole query in it.
            raise WebError("ddgs", f"the search engines do not answer ({type(error).__name__})") from error
        return [
            SearchHit(title=hit.get("title", ""), url=hit.get("href", ""), snippet=hit.get("body", "")) for hit in found
        ]


def _region(language: str | None) -> str | None:
    """Ddgs puts the country first: `ch-de` for `de-CH`."""
    if language is None or "-" not in language:
        return None
    name, _, country = language.partition("-")
    return f"{country.lower()}-{name}"
