"""The tool that reads a web page as a person would: `scrape_page`."""

from __future__ import annotations

import asyncio
import re
from typing import Any, Final, Literal

import anyio.to_thread
import httpx
from pydantic import BaseModel, Field, SkipValidation

from xagent_tools_web.errors import WebError, shown
from xagent_tools_web.fetch import Most, Offset, described
from xagent_tools_web.text import content_type, decode, window
from xagent_tools_web.tool import WebTool
from xagent_tools_web.web import Web

__all__ = ["ScrapePage", "ScrapePageInput"]

_HTML: Final = frozenset({"text/html", "application/xhtml+xml", ""})
_MOST_HTML: Final = 2_000_000
"""Characters that are made sense of: the time for it grows with the page, and cannot be cut short."""

_MOST_ELEMENTS: Final = 50_000
"""A page with more is given as bare text; trafilatura needs about 0.1 ms for an element."""

_LONGEST_LINK: Final = 2000
_MOST_TRIED: Final = 5000
_OTHER_SCHEME: Final = re.compile(r"(?!https?:)[a-z][a-z0-9+.-]*:", re.IGNORECASE)
_HOST: Final = re.compile(rb"[A-Za-z0-9._:-]+")
_METADATA: Final = ("title", "author", "date", "description", "sitename", "language")


class ScrapePageInput(BaseModel):
    """What `scrape_page` takes."""

    url: str = Field(min_length=8, max_length=4096, description="The page's address, with https:// or http://.")
    format: Literal["markdown", "text"] = Field(
        default="markdown", description="Markdown keeps headings, lists, emphasis, tables and links; text does not."
    )
    max_links: int = Field(default=50, ge=0, le=500, description="Links to list at most, in the page's order.")
    max_characters: Most = 20_000
    offset: Offset = 0


class ScrapePage(WebTool):
    """Reads a page: its main text without what surrounds it, its links, and what it says of itself."""

    name: str = "scrape_page"
    description: str = (
        "Read a public web page as a person would: its main text as Markdown, without menus and advertisements, its "
        "links, and metadata (title, author, date, description, sitename, language). Returns status, http_status, "
        "url, title, metadata, content and links; with next_offset there is more to read. Pages are read without "
        "running their scripts."
    )
    args_schema: Any = ScrapePageInput
    web: SkipValidation[Web] = Field(exclude=True, repr=False)

    async def work(
        self,
        *,
        url: str,
        format: str,  # noqa: A002 - a model's word
        max_links: int,
        max_characters: int,
        offset: int,
    ) -> dict[str, Any]:
        """Reads the page."""
        page = await self.web.request("GET", url, headers={"Accept": "text/html, application/xhtml+xml, text/*;q=0.8"})
        read = decode(page.body, page.headers)
        kind = content_type(page.headers)
        if read is None or (kind not in _HTML and not kind.startswith("text/")):
            raise WebError(f"GET {shown(url)}", f"this is not a page but {kind or 'something else'}", "Use fetch_url.")
        text = read[0][:_MOST_HTML]
        found = described(page)
        if kind not in _HTML:
            return found | {"title": "", "metadata": {}, **window(text, offset, max_characters), "links": []}
        try:
            # lxml and trafilatura block, and take as long as they take: nobody waits for their end.
            async with asyncio.timeout(self.web.settings.timeout):
                metadata, content, links = await anyio.to_thread.run_sync(
                    _extract, text, str(page.url), format, max_links, abandon_on_cancel=True
                )
        except TimeoutError as error:
            raise WebError(f"GET {shown(url)}", "the page takes too long to read", "Use fetch_url.") from error
        return found | {
            "title": metadata.pop("title", ""),
            "metadata": metadata,
            **window(content, offset, max_characters),
            "links": links,
        }


def _extract(html: str, url: str, form: str, most_links: int) -> tuple[dict[str, str], str, list[dict[str, str]]]:
    import trafilatura
    from lxml import etree
    from lxml import html as parser

    if not html.strip():
        return {}, "", []
    try:
        tree = parser.document_fromstring(html.replace("\0", "").encode(), parser=parser.HTMLParser(encoding="utf-8"))
    except (etree.ParserError, etree.XMLSyntaxError, ValueError):
        return {}, "", []
    links = _links(tree, url, most_links)
    if sum(1 for _ in tree.iter()) > _MOST_ELEMENTS:
        return {"title": " ".join(tree.xpath("string(//title)").split())[:1000]}, _bare(tree), links
    document = trafilatura.extract_metadata(tree, default_url=url)
    said = document.as_dict() if document is not None else {}
    metadata = {name: str(value)[:1000] for name in _METADATA if (value := said.get(name))}
    wanted = "markdown" if form == "markdown" else "txt"
    content = trafilatura.extract(
        tree, url=url, output_format=wanted, include_links=form == "markdown", include_tables=True, favor_recall=True
    )
    return metadata, content or trafilatura.html2txt(html), links


def _bare(tree: Any) -> str:
    """All the text of a page that is too large to be made more of."""
    for element in tree.xpath("//script | //style | //noscript | //template"):
        element.drop_tree()
    return "\n".join(line for text in tree.itertext() if (line := " ".join(text.split())))


def _links(tree: Any, url: str, most: int) -> list[dict[str, str]]:
    """The page's links to other places, each once."""
    base = httpx.URL(url)
    links: dict[str, str] = {}
    tried: set[str] = set()
    for anchor in tree.iter("a"):
        href = (anchor.get("href") or "").strip()
        if _OTHER_SCHEME.match("".join(href.split())):
            anchor.attrib.pop("href")  # Nothing that a reader should follow, in the text neither.
        elif len(links) < most and len(tried) < _MOST_TRIED and href not in tried and (target := _target(base, href)):
            links.setdefault(target, " ".join(anchor.text_content().split())[:200])
        tried.add(href)
    return [{"url": link, "text": text} for link, text in links.items()]


def _target(base: httpx.URL, href: str) -> str:
    """Where a link leads to; empty where that is nowhere else."""
    try:
        target = base.join(href).copy_with(fragment=None)
    except (httpx.InvalidURL, UnicodeError, ValueError):
        return ""
    usable = target.scheme in {"http", "https"} and _HOST.fullmatch(target.raw_host) and target != base
    return str(target) if usable and len(str(target)) <= _LONGEST_LINK else ""
