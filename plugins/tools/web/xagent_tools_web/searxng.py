"""The search provider for a SearXNG server of the operator's own, by its JSON interface."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, Self

import httpx
from pydantic import BaseModel, ConfigDict, Field, HttpUrl, SecretStr

from xagent_core.abc.search import SearchHit, SearchProvider, SearchQuery
from xagent_tools_web.body import ACCEPT_ENCODING, read_body
from xagent_tools_web.errors import WebError
from xagent_tools_web.settings import checked
from xagent_tools_web.transport import unlogged

__all__ = ["SearXNG"]

_MOST_BYTES: Final = 2_000_000
_FORMATS: Final = "Add json to search.formats in its settings.yml."


class SearXNGSettings(BaseModel):
    """The table `[tools.web_search.searxng]`.

    Attributes:
        url: Where the server is. It may well be a private address: the operator names it, and no model can.
        engines: The engines to ask, as SearXNG calls them; by default what the server has set up.
        safe_search: 0 for none, 1 for moderate, 2 for strict.
        headers: Headers to send, such as Authorization.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: HttpUrl
    engines: tuple[str, ...] = ()
    safe_search: int = Field(default=1, ge=0, le=2)
    headers: Mapping[str, SecretStr] = Field(default_factory=dict)


class SearXNG(SearchProvider):
    """Asks a SearXNG server.

    Args:
        settings: Which one, and how.
    """

    def __init__(self, settings: SearXNGSettings) -> None:
        self._settings = settings
        self._url = httpx.URL(str(settings.url).rstrip("/") + "/search")

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Self:
        """Reads the options.

        Raises:
            ConfigError: One of them cannot be used, or `url` is missing.
        """
        return cls(checked(SearXNGSettings, options, "tools.web_search.searxng"))

    async def search(self, query: SearchQuery) -> Sequence[SearchHit]:
        """Asks the server."""
        asked = {"q": query.text, "format": "json", "pageno": str(query.page)}
        asked |= {"safesearch": str(self._settings.safe_search), "language": query.language or "all"}
        if query.period:
            asked["time_range"] = query.period
        if self._settings.engines:
            asked["engines"] = ",".join(self._settings.engines)
        headers = {name: value.get_secret_value() for name, value in self._settings.headers.items()}
        headers |= {"Accept": "application/json", "Accept-Encoding": ACCEPT_ENCODING}
        request = httpx.Request("GET", self._url.copy_merge_params(asked), headers=headers)
        with unlogged():
            return _hits(await _answer(request))


async def _answer(request: httpx.Request) -> Any:
    # The environment's proxy is not for the operator's own server, and a redirect is none of its answers.
    try:
        async with httpx.AsyncHTTPTransport(trust_env=False) as transport:
            response = await transport.handle_async_request(request)
            try:
                packed = response.headers.get("content-encoding", "")
                chunks = response.aiter_raw()
                body, more = await read_body(chunks, encoding=packed, most=_MOST_BYTES, request="searxng")
            finally:
                await response.aclose()
    except httpx.HTTPError as error:
        raise WebError("searxng", f"the server cannot be reached ({type(error).__name__})") from error
    if response.status_code != 200 or more:
        fix = _FORMATS if response.status_code == 403 else ""
        raise WebError("searxng", f"the server answers with status {response.status_code}", fix)
    try:
        return json.loads(body)
    except ValueError as error:
        raise WebError("searxng", "the server does not answer in JSON", _FORMATS) from error


def _hits(answer: Any) -> list[SearchHit]:
    results = answer.get("results") if isinstance(answer, dict) else None
    if not isinstance(results, list):
        raise WebError("searxng", "the server's answer is not a SearXNG server's")
    hits = [
        SearchHit(
            title=str(result.get("title") or ""),
            url=str(result["url"]),
            snippet=str(result.get("content") or ""),
            published=str(result["publishedDate"]) if result.get("publishedDate") else None,
        )
        for result in results
        if isinstance(result, dict) and result.get("url")
    ]
    if not hits and (silent := answer.get("unresponsive_engines")):
        names = ", ".join(str(entry[0]) for entry in silent if isinstance(entry, list) and entry)
        raise WebError("searxng", f"its engines do not answer: {names}")
    return hits
