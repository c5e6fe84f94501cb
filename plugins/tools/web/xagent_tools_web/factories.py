"""Makes the tools and the search providers; each function bears the name of what it makes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from xagent_core.abc.search import SearchProvider
from xagent_core.abc.tool import ToolContext

if TYPE_CHECKING:
    from langchain_core.tools import BaseTool

__all__ = ["ddgs", "fetch_url", "http_request", "scrape_page", "searxng", "web_search"]


def fetch_url(context: ToolContext) -> BaseTool:
    """The tool that reads an address."""
    from xagent_tools_web.fetch import FetchUrl
    from xagent_tools_web.web import Web

    return FetchUrl(web=Web.of(context))


def http_request(context: ToolContext) -> BaseTool:
    """The tool that makes any request that the operator allows."""
    from xagent_tools_web.fetch import HttpRequest, http_request_input
    from xagent_tools_web.web import Web

    web = Web.of(context)
    return HttpRequest(web=web, args_schema=http_request_input(web.settings.methods))


def scrape_page(context: ToolContext) -> BaseTool:
    """The tool that reads a page as a person would."""
    from xagent_tools_web.scrape import ScrapePage
    from xagent_tools_web.web import Web

    return ScrapePage(web=Web.of(context))


def web_search(context: ToolContext) -> BaseTool:
    """The tool that finds pages."""
    from xagent_tools_web.search import WebSearch, providers_of

    return WebSearch(providers=providers_of(context))


def searxng(options: Mapping[str, Any]) -> SearchProvider:
    """A SearXNG server, by its JSON interface."""
    from xagent_tools_web.searxng import SearXNG

    return SearXNG.of(options)


def ddgs(options: Mapping[str, Any]) -> SearchProvider:
    """Public search engines, by the library ddgs."""
    from xagent_tools_web.ddgs import Ddgs

    return Ddgs.of(options)
