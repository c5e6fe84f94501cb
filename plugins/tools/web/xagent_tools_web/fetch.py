"""The tools that give what a server sends: `fetch_url` and `http_request`."""

from __future__ import annotations

import base64
import json
import re
from typing import Annotated, Any, Final, Literal

import httpx
from pydantic import BaseModel, Field, JsonValue, SkipValidation, create_model

from xagent_tools_web.errors import WebError, shown
from xagent_tools_web.text import content_type, decode, window
from xagent_tools_web.tool import WebTool
from xagent_tools_web.web import Page, Web

__all__ = ["FetchUrl", "FetchUrlInput", "HttpRequest", "HttpRequestInput", "http_request_input"]

_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, section 5.1
_VALUE: Final = re.compile(r"[\x21-\x7e]([\t\x20-\x7e]*[\x21-\x7e])?|")
_RESERVED: Final = re.compile(
    r"(?i)host|connection|content-length|transfer-encoding|te|trailer|upgrade|expect|keep-alive|accept-encoding|"
    r"proxy-.*|x-forwarded-.*|forwarded|x-real-ip|x-http-method.*|x-method-override"
)
_LONGEST_BODY: Final = 1_000_000
_URL: Final = "The whole address, beginning with https:// or http://."

Offset = Annotated[
    int, Field(default=0, ge=0, le=50_000_000, description="Characters to skip: next_offset of an earlier answer.")
]
Most = Annotated[int, Field(default=20_000, ge=100, le=200_000, description="Characters to return at most.")]


class FetchUrlInput(BaseModel):
    """What `fetch_url` takes."""

    url: str = Field(min_length=8, max_length=4096, description=_URL)
    max_characters: Most = 20_000
    offset: Offset = 0


class HttpRequestInput(BaseModel):
    """What `http_request` takes; the choices of `method` come with `http_request_input`."""

    url: str = Field(min_length=8, max_length=4096, description=_URL)
    method: str = Field(default="GET", max_length=16, description="The HTTP method.")
    headers: dict[str, Annotated[str, Field(max_length=8192)]] = Field(
        default_factory=dict,
        max_length=50,
        description="Headers to send, such as Accept or Authorization. A redirect to another site drops them.",
    )
    json_body: Annotated[dict[str, JsonValue], Field(max_length=1000)] | None = Field(
        default=None, description="An object to send as JSON; sets the content type."
    )
    body: str | None = Field(
        default=None, max_length=_LONGEST_BODY, description="What to send as text; set the header Content-Type with it."
    )
    max_characters: Most = 20_000
    offset: Offset = 0


def http_request_input(methods: tuple[str, ...]) -> type[HttpRequestInput]:
    """The input schema with what the operator allows as the choices of `method`."""
    field = Field(default=methods[0], description="The HTTP method.")
    choices: Any = Literal[methods]
    return create_model("HttpRequestInput", __base__=HttpRequestInput, method=(choices, field))


class FetchUrl(WebTool):
    """Reads an address of the web.

    The model gets status ("success", or "error" where the server says so), http_status, url (where it was found at
    last), content_type, content and how to go on reading. Of what is not text, the artifact has the bytes.
    """

    name: str = "fetch_url"
    description: str = (
        "Read what a public web address has, as the server sends it: text, HTML, JSON, XML. For an article's readable "
        "text use scrape_page. Returns status, http_status, url, content_type and content; with next_offset there is "
        "more to read. Only the public web can be reached."
    )
    response_format: Literal["content", "content_and_artifact"] = "content_and_artifact"
    args_schema: Any = FetchUrlInput
    web: SkipValidation[Web] = Field(exclude=True, repr=False)

    async def work(self, *, url: str, max_characters: int, offset: int) -> tuple[dict[str, Any], dict[str, Any] | None]:
        """Reads the address; what the model gets, and the artifact."""
        page = await self.web.request("GET", url)
        return described(page) | contents(page, offset, max_characters), artifact(page)


class HttpRequest(WebTool):
    """Makes an HTTP request. The result is that of `fetch_url`, with the response's headers."""

    name: str = "http_request"
    description: str = (
        "Make an HTTP request to a public web address, such as an API, with headers and a body of your own. Returns "
        "status, http_status, url, headers, content_type and content. A status of 4xx or 5xx is a result, not a "
        "failure of the tool. Only the public web can be reached."
    )
    response_format: Literal["content", "content_and_artifact"] = "content_and_artifact"
    args_schema: Any = HttpRequestInput
    web: SkipValidation[Web] = Field(exclude=True, repr=False)

    async def work(
        self,
        *,
        url: str,
        method: str,
        headers: dict[str, str],
        json_body: dict[str, JsonValue] | None,
        body: str | None,
        max_characters: int,
        offset: int,
    ) -> tuple[dict[str, Any], dict[str, Any] | None]:
        """Makes the request; what the model gets, and the artifact."""
        given = checked_headers(headers, f"{method} {shown(url)}")
        if json_body is not None and body is not None:
            raise WebError(f"{method} {shown(url)}", "json_body and body exclude each other", "Give one of them.")
        data = None if body is None else body.encode()
        if json_body is not None:
            data = json.dumps(json_body).encode()
            if len(data) > _LONGEST_BODY:
                raise WebError(f"{method} {shown(url)}", f"json_body has more than {_LONGEST_BODY} bytes", "Send less.")
            given.setdefault("Content-Type", "application/json")
        page = await self.web.request(method, url, headers=given, body=data)
        sent = {name: value for name, value in page.headers.items() if name != "content-encoding"}
        return described(page) | {"headers": sent} | contents(page, offset, max_characters), artifact(page)


def checked_headers(headers: dict[str, str], request: str) -> httpx.Headers:
    """The headers, whatever their case; refused are those that would change whom the request is for, or are none.

    Raises:
        WebError: A header cannot be sent; the error names it, and never its value.
    """
    given = httpx.Headers()
    for name, value in headers.items():
        if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            raise WebError(request, "a header has characters that no header can have", "Use visible ASCII.")
        if _RESERVED.fullmatch(name):
            raise WebError(request, f"the header {name} is not the caller's to set", "Leave it out.")
        if name in given:
            raise WebError(request, f"the header {name} is given twice", "Its case does not matter: give it once.")
        given[name] = value
    return given


def described(page: Page) -> dict[str, Any]:
    """What came back, but for the content."""
    found: dict[str, Any] = {
        "status": "success" if page.status_code < 400 else "error",
        "http_status": page.status_code,
        "url": shown(page.url) if page.url.userinfo else str(page.url),
        "content_type": content_type(page.headers),
        "size": len(page.body),
        "execution_time": round(page.seconds, 3),
    }
    if page.redirects:
        found["redirected_from"] = list(page.redirects)
    if page.from_cache:
        found["from_cache"] = True
    if page.truncated:
        found["truncated"] = True
        found["notice"] = f"Only the first {len(page.body)} bytes were read: the limit."
    return found


def contents(page: Page, offset: int, most: int) -> dict[str, Any]:
    """The content as a model reads it; of what is not text, only that."""
    read = decode(page.body, page.headers)
    if read is None:
        return {"binary": True, "content": "", "notice": "This is not text: its bytes are in the artifact."}
    text, encoding = read
    return {"encoding": encoding, **window(text, offset, most)}


def artifact(page: Page) -> dict[str, Any] | None:
    """What is not text, in a form that JSON can carry."""
    if not page.body or decode(page.body, page.headers) is not None:
        return None
    kind = content_type(page.headers)
    return {"url": str(page.url), "content_type": kind, "base64": base64.b64encode(page.body).decode("ascii")}
