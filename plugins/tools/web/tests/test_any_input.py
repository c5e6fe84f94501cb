"""Whatever a model or a server writes, the answer is a result or an error that says what is wrong."""

from __future__ import annotations

import asyncio
import codecs
import re
import socket
import string
import zlib

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from xagent_tools_web.body import read_body
from xagent_tools_web.errors import WebError, shown
from xagent_tools_web.scrape import _extract
from xagent_tools_web.settings import WebSettings
from xagent_tools_web.text import decode
from xagent_tools_web.web import Web


def nowhere(*_):
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


@pytest.fixture(scope="module")
def web():
    return Web(WebSettings(robots=False, timeout=5, rate=10_000, burst=10_000), resolver=nowhere)


# Examples take as long as the machine lets them, and leave no folder behind.
fuzz = settings(deadline=None, database=None, max_examples=80, suppress_health_check=[HealthCheck.too_slow])
PIECES = (
    "http:// https:// http: // / \\ @ : [ ] % %00 # ? xn-- ::1 127 . 。 example com :80 :99999 ① \u202e \u200d ß - _"
).split()
PARTS = st.one_of(
    st.sampled_from([*PIECES, "\ud800", "\t", "\n", " "]),
    st.text(max_size=6),
    st.text(string.hexdigits + ".:[]%x", max_size=12),
)


@fuzz
@given(st.lists(PARTS, max_size=8).map("".join), st.sampled_from(["", "http://", "https://a@", "http://xn--"]))
def test_no_address_makes_the_tool_fall_over(web, text, start):
    with pytest.raises(WebError):
        asyncio.run(web.request("GET", start + text))


@fuzz
@given(st.lists(PARTS, max_size=8).map("".join))
def test_no_redirect_makes_the_tool_fall_over(web, target):
    first = httpx.Request("GET", "https://example.com/page")
    try:
        second = web._redirected(first, 302, target)
        with pytest.raises(WebError):
            asyncio.run(web.request("GET", str(second.url)))
    except WebError:
        pass


@fuzz
@given(st.text())
def test_any_address_can_be_shown(text):
    assert len(shown(text)) <= 210


@fuzz
@given(st.binary(max_size=300), st.sampled_from(["gzip", "deflate"]), st.integers(1, 50), st.integers(1, 200))
def test_no_body_makes_the_tool_fall_over(data, encoding, size, most):
    async def chunks():
        for start in range(0, len(data), size):
            yield data[start : start + size]

    try:
        body, _ = asyncio.run(read_body(chunks(), encoding=encoding, most=most, request=""))
    except WebError:
        return
    assert len(body) <= most


@fuzz
@given(st.binary(max_size=2000), st.integers(1, 50), st.sampled_from([15, -15, 31]))
def test_what_was_packed_is_unpacked(data, size, form):
    packer = zlib.compressobj(wbits=form)
    packed = packer.compress(data) + packer.flush()

    async def chunks():
        for start in range(0, len(packed), size):
            yield packed[start : start + size]

    encoding = "gzip" if form == 31 else "deflate"
    assert asyncio.run(read_body(chunks(), encoding=encoding, most=10_000, request="")) == (data, False)


@fuzz
@given(st.binary(max_size=300), st.text(max_size=30))
def test_any_body_can_be_read_or_is_not_text(body, charset):
    headers = httpx.Headers({"content-type": f"text/html; charset={charset}".encode()})
    read = decode(body, headers)
    assert read is not None
    assert isinstance(read[0], str)


@pytest.mark.parametrize("name", "zlib bz2 base64 hex rot13 quopri uu punycode idna undefined".split())
def test_no_encoding_but_one_of_text_is_used(name):
    body = zlib.compress(bytes(10_000_000))
    text, encoding = decode(body, httpx.Headers({"content-type": f"text/plain; charset={name}"}))
    assert len(text) <= len(body)
    assert codecs.lookup(encoding).name != codecs.lookup(name).name


HTML = st.lists(
    st.sampled_from(
        """<p>|</p>|<a href='/x'>|<a href='//[::'>|<a href='java&#10;script:x'>|<title>|<!--|<table>|{|</script>|&#0;|
        <script type='application/ld+json'>|{"@type": "Article"}|<meta charset=|<meta property='og:title' content='x'>|
        <base href='http://[bad'>|word |\x00|\ud800""".split("|")
    ),
    max_size=30,
).map("".join)


@fuzz
@given(HTML)
def test_no_page_makes_the_tool_fall_over(html):
    metadata, content, links = _extract(html, "https://example.com/", "markdown", 5)
    assert not re.search(r"\]\(<?\s*java\s*script:", content)
    assert all(link["url"].startswith("http") for link in links)
    assert isinstance(metadata, dict)


def test_a_page_that_is_too_large_to_make_sense_of_is_given_as_bare_text():
    page = "<title>Many</title><style>p {}</style><script>run()</script>" + "<p>line</p>" * 60_000
    metadata, content, _ = _extract(page, "https://example.com/", "markdown", 5)
    assert metadata == {"title": "Many"}
    assert content.startswith("Many\nline\nline\n")
    assert "run()" not in content
