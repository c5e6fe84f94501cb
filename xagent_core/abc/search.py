"""The contract of a search provider: it answers a query with pages of the web."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["SearchHit", "SearchProvider", "SearchProviderRegistration", "SearchQuery"]


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchQuery:
    """What is looked for.

    Attributes:
        text: The query, as a person would type it.
        limit: Hits wanted at most.
        page: 1 for the best hits, 2 for the next ones.
        language: A language, and a region where it matters: `en`, `de-CH`; None where it does not matter.
        period: Only what is not older than so long; None for any age.
    """

    text: str
    limit: int = 10
    page: int = 1
    language: str | None = None
    period: Literal["day", "week", "month", "year"] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchHit:
    """A page that was found.

    Attributes:
        title: Its title, as text.
        url: Its address.
        snippet: Some of its text; may be empty.
        published: When it appeared, as the provider has it; None where the provider does not say.
    """

    title: str
    url: str
    snippet: str = ""
    published: str | None = None


class SearchProvider(ABC):
    """Finds pages. It is used from several threads and event loops: it keeps no connection between two searches."""

    @abstractmethod
    async def search(self, query: SearchQuery) -> Sequence[SearchHit]:
        """Finds pages.

        Args:
            query: What is looked for. What a provider cannot honour (a language, a period) it leaves out.

        Returns:
            The hits, best first; none where nothing was found. More than `query.limit` may come.

        Raises:
            XAgentError: The provider does not answer, or refuses; another may be asked.
        """


@dataclass(frozen=True, kw_only=True)
class SearchProviderRegistration:
    """Announces a search provider.

    Attributes:
        name: What users write in the configuration.
        summary: One line.
        factory: Called with the provider's own settings; imports the heavy module when it is called. It raises
            `ConfigError` where a setting that it needs is missing.
        preference: Where nobody names providers, the lowest that can be used comes first. Those that an operator sets
            up have 10 to 49, those that need no settings from 50.
        api_version: The version of the plugin interface that it was written for.
    """

    name: str
    summary: str
    factory: Callable[[Mapping[str, Any]], SearchProvider]
    preference: int = 50
    api_version: int = 1
