"""The tool that finds pages: `web_search`, through whatever search providers are installed and set up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import httpx
from pydantic import BaseModel, ConfigDict, Field, SkipValidation

from xagent_core.abc.search import SearchHit, SearchProvider, SearchQuery
from xagent_core.abc.tool import ToolContext
from xagent_core.errors import ConfigError, XAgentError
from xagent_tools_web.errors import WebError
from xagent_tools_web.pace import Pace
from xagent_tools_web.settings import checked
from xagent_tools_web.tool import WebTool

__all__ = ["WebSearch", "WebSearchInput", "providers_of"]

_TABLE: Final = "tools.web_search"
_LONGEST_TITLE: Final = 300
_LONGEST_SNIPPET: Final = 1000


class SearchSettings(BaseModel):
    """The table `[tools.web_search]`, without the tables of the providers in it.

    Attributes:
        providers: Those to ask, in this order: the next one where one fails. By default all that can be used.
        timeout: Seconds for one provider.
        rate: Searches a second with one provider, over time.
        burst: Searches with one provider that need not wait.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    providers: tuple[str, ...] | None = Field(default=None, min_length=1)
    timeout: float = Field(default=15.0, gt=0, le=120)
    rate: float = Field(default=1.0, gt=0)
    burst: int = Field(default=5, ge=1)


class WebSearchInput(BaseModel):
    """What `web_search` takes."""

    query: str = Field(min_length=1, max_length=400, description="What to look for, as one would type it.")
    max_results: int = Field(default=8, ge=1, le=30, description="Results to return at most.")
    page: int = Field(default=1, ge=1, le=10, description="1 for the best results, 2 for the next ones.")
    language: str | None = Field(
        default=None, pattern=r"^[a-z]{2,3}(-[A-Z]{2})?$", description="A language: en, or with a region, de-CH."
    )
    period: Literal["day", "week", "month", "year"] | None = Field(
        default=None, description="Only what is not older than this."
    )


class Providers:
    """The providers of a `web_search`, in the order in which they are asked.

    Args:
        providers: By name.
        settings: For how long, and how often.
    """

    def __init__(self, providers: Mapping[str, SearchProvider], settings: SearchSettings) -> None:
        self._providers = providers
        self._timeout = settings.timeout
        self._pace = Pace(rate=settings.rate, burst=settings.burst)

    async def search(self, query: SearchQuery) -> tuple[str, Sequence[SearchHit], dict[str, str]]:
        """Asks one after the other until one answers with something.

        Returns:
            Who answered, the hits, and what went wrong with those that were asked before.

        Raises:
            WebError: None of them could answer.
        """
        failed: dict[str, str] = {}
        answered = ""
        for name, provider in self._providers.items():
            try:
                async with asyncio.timeout(self._timeout):
                    await self._pace.wait(name)
                    hits = await provider.search(query)
            except TimeoutError:
                failed[name] = f"no answer within {self._timeout:g} seconds"
                continue
            except XAgentError as error:
                failed[name] = f"{error.cause}. {error.fix}".strip()
                continue
            answered = name
            if hits:
                return name, hits, failed
        if answered:
            return answered, [], failed
        reasons = "; ".join(f"{name}: {reason}" for name, reason in failed.items())
        raise WebError("web_search", f"no search provider answers ({reasons})", "Try again later, or go on without.")


def providers_of(context: ToolContext) -> Providers:
    """The providers that are set up, first- and third-party alike.

    Raises:
        ConfigError: A setting cannot be used, or no provider can.
        UnknownPluginError: The configuration names a provider that is not installed.
    """
    catalogue = context.engine.plugins.search_providers
    own = {name: value for name, value in context.options.items() if not isinstance(value, Mapping)}
    settings = checked(SearchSettings, own, _TABLE)
    tables = {name: value for name, value in context.options.items() if isinstance(value, Mapping)}
    for name in tables:
        catalogue[name]  # A table for nobody is a mistake.
    if settings.providers is not None:
        return Providers({name: catalogue[name].factory(tables.get(name, {})) for name in settings.providers}, settings)
    usable: dict[str, SearchProvider] = {}
    unusable: list[str] = []
    for registration in sorted(catalogue, key=lambda each: (each.preference, each.name)):
        try:
            usable[registration.name] = registration.factory(tables.get(registration.name, {}))
        except ConfigError as error:
            if registration.name in tables:
                raise
            unusable.append(str(error))
    if not usable:
        raise ConfigError(_TABLE, "no search provider can be used", " ".join(unusable) or "Install one.")
    return Providers(usable, settings)


class WebSearch(WebTool):
    """Searches the web. The model gets status, provider, and results with title, url, snippet and published."""

    name: str = "web_search"
    description: str = (
        "Search the web. Returns status, provider and results, each with title, url and snippet; read a page that "
        "looks right with scrape_page. An empty list says that nothing was found: try other words."
    )
    args_schema: Any = WebSearchInput
    providers: SkipValidation[Providers] = Field(exclude=True, repr=False)

    async def work(
        self, *, query: str, max_results: int, page: int, language: str | None, period: Any
    ) -> dict[str, Any]:
        """Searches."""
        started = time.monotonic()
        asked = SearchQuery(text=query, limit=max_results, page=page, language=language, period=period)
        provider, hits, failed = await self.providers.search(asked)
        found: dict[str, Any] = {
            "status": "success",
            "query": query,
            "provider": provider,
            "results": _presented(hits)[:max_results],
            "execution_time": round(time.monotonic() - started, 3),
        }
        return found | ({"failed_providers": failed} if failed else {})


def _presented(hits: Sequence[SearchHit]) -> list[dict[str, Any]]:
    """Each address once, and no more text of strangers than is useful."""
    results: dict[str, dict[str, Any]] = {}
    for hit in hits:
        try:
            url = httpx.URL(hit.url)
        except (httpx.InvalidURL, UnicodeError):
            continue
        if url.scheme not in {"http", "https"} or not url.host:
            continue
        result = {"title": hit.title[:_LONGEST_TITLE], "url": hit.url, "snippet": hit.snippet[:_LONGEST_SNIPPET]}
        results.setdefault(str(url), result | ({"published": hit.published} if hit.published else {}))
    return list(results.values())
