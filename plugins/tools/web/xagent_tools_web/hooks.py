"""Announces the web tools, and the two search providers that come with them."""

from __future__ import annotations

from typing import Any

from xagent_core.abc.search import SearchProviderRegistration
from xagent_core.abc.tool import ToolRegistration
from xagent_core.hookspecs import hookimpl


@hookimpl
def xagent_register_tools() -> list[ToolRegistration]:
    """What reads the web."""
    summaries = {
        "fetch_url": "Reads what an address of the web has",
        "http_request": "Makes an HTTP request and gives the whole response",
        "scrape_page": "Reads a web page: its text, links and metadata",
    }
    tools = [ToolRegistration(name=n, summary=s, factory=_lazy(n), table="web") for n, s in summaries.items()]
    return [*tools, ToolRegistration(name="web_search", summary="Searches the web", factory=_lazy("web_search"))]


@hookimpl
def xagent_register_search_providers() -> list[SearchProviderRegistration]:
    """What can be asked without a contract with anybody."""
    return [
        SearchProviderRegistration(name="searxng", summary="A SearXNG server", factory=_lazy("searxng"), preference=10),
        SearchProviderRegistration(name="ddgs", summary="Public search engines", factory=_lazy("ddgs"), preference=90),
    ]


def _lazy(name: str) -> Any:
    def make(given: Any) -> Any:
        from xagent_tools_web import factories

        return getattr(factories, name)(given)

    return make
