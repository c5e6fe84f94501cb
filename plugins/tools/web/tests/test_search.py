"""Searching: SearXNG's JSON interface and ddgs, each against a local server that speaks the same protocol."""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
import time
from urllib.parse import parse_qs, urlsplit

import pytest
from ddgs.exceptions import DDGSException

from xagent_core import (
    ConfigError,
    Engine,
    SearchHit,
    SearchProvider,
    SearchProviderRegistration,
    Settings,
    UnknownPluginError,
    XAgentError,
    get_tools,
    load_plugins,
)
from xagent_core.testing.fakes import FakeBackend

OTTERS = {
    "query": "otters",
    "number_of_results": 3,
    "results": [
        {
            "title": "Otters",
            "url": "https://otters.example/",
            "content": "About otters.",
            "engine": "one",
        },
        {"title": "News", "url": "https://news.example/1", "content": "", "publishedDate": "2024-05-01T00:00:00"},
        {"title": "Again", "url": "https://otters.example/", "content": "About otters."},
        {"title": "Odd", "url": "javascript:alert(1)"},
        {"title": "No address"},
    ],
    "answers": [],
    "unresponsive_engines": [["two", "timeout"]],
}


@pytest.fixture
def search():
    def make(plugins=None, **options):
        engine = Engine(FakeBackend(), plugins=plugins, settings=Settings(tools={"web_search": options}))
        return get_tools(engine, names=["web_search"])[0]

    return make


@pytest.fixture
def searxng(site):
    return {"url": site.url("/searxng/")}


def call(**arguments):
    return {"type": "tool_call", "id": "1", "name": "web_search", "args": arguments}


async def test_searxng_is_asked_in_its_own_words(site, search, searxng, reply):
    site.routes["/searxng/search"] = reply(json.dumps(OTTERS), "Content-Type: application/json")
    tool = search(providers=["searxng"], searxng=searxng | {"engines": ["one", "two"], "safe_search": 2})
    answer = await tool.ainvoke({"query": "otters & more", "page": 2, "language": "de-CH", "period": "month"})
    assert answer["status"] == "success"
    assert answer["provider"] == "searxng"
    assert answer["results"] == [
        {"title": "Otters", "url": "https://otters.example/", "snippet": "About otters."},
        {"title": "News", "url": "https://news.example/1", "snippet": "", "published": "2024-05-01T00:00:00"},
    ]
    asked = urlsplit(site.asked[0].target)
    assert parse_qs(asked.query) == {
        "q": ["otters & more"],
        "format": ["json"],
        "pageno": ["2"],
        "language": ["de-CH"],
        "time_range": ["month"],
        "safesearch": ["2"],
        "engines": ["one,two"],
    }


def test_a_search_without_an_event_loop(site, search, searxng, reply):
    site.routes["/searxng/search"] = reply(json.dumps(OTTERS))
    assert len(search(searxng=searxng).invoke({"query": "otters", "max_results": 1})["results"]) == 1


@pytest.mark.parametrize(
    ("status", "body", "text"),
    [
        ("403 Forbidden", "", "Add json to search.formats"),
        ("429 Too Many Requests", "", "status 429"),
        ("302 Found", "", "status 302"),
        ("200 OK", "<html>", "not answer in JSON"),
        ("200 OK", "[]", "not a SearXNG server's"),
        ("200 OK", '{"results": 1}', "not a SearXNG server's"),
        ("200 OK", '{"results": [], "unresponsive_engines": [["one", "timeout"]]}', "engines do not answer: one"),
    ],
)
async def test_a_searxng_server_that_cannot_answer(site, search, searxng, reply, status, body, text):
    site.routes["/searxng/search"] = reply(body, status=status)
    message = await search(providers=["searxng"], searxng=searxng).ainvoke(call(query="otters"))
    assert message.status == "error"
    assert text in message.content


async def test_nothing_found_is_a_result(site, search, searxng, reply):
    site.routes["/searxng/search"] = reply('{"results": [], "unresponsive_engines": []}')
    answer = await search(providers=["searxng"], searxng=searxng).ainvoke({"query": "otters"})
    assert (answer["status"], answer["results"]) == ("success", [])


async def test_the_servers_secret_is_sent_and_not_logged(site, search, searxng, reply, caplog):
    caplog.set_level(logging.DEBUG)
    site.routes["/searxng/search"] = reply(json.dumps(OTTERS), "Set-Cookie: a=s3cret")
    tool = search(searxng=searxng | {"headers": {"Authorization": "Bearer s3cret"}})
    await tool.ainvoke({"query": "otters"})
    assert site.asked[0].headers["authorization"] == "Bearer s3cret"
    assert "s3cret" not in caplog.text
    assert "s3cret" not in repr(tool)


DUCK = """<html><body><div id="links">
<div class="result results_links"><div class="links_main links_deep result__body"><h2 class="result__title">
<a class="result__a" href="https://otters.example/">Otters in rivers</a></h2>
<a class="result__snippet" href="https://otters.example/">All about otters.</a></div></div>
<div class="result"><div class="links_main result__body"><h2>
<a href="https://duckduckgo.com/y.js?ad=1">Buy otters</a></h2>
<a href="https://duckduckgo.com/y.js?ad=1">An advertisement for otters.</a></div></div>
</div></body></html>"""


@pytest.fixture
async def duck(certs, reply):
    """A proxy behind which DuckDuckGo's own host answers: what ddgs speaks, with TLS and all."""
    asked = []
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certs / "server.pem")

    async def answer(reader, writer):
        try:
            asked.append((await reader.readuntil(b"\r\n\r\n")).decode().splitlines()[0])
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await writer.drain()
            await writer.start_tls(context)
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            length = next(int(line[15:]) for line in head.splitlines() if line.lower().startswith("content-length:"))
            asked.append(head.splitlines()[0])
            asked.append(parse_qs((await reader.readexactly(length)).decode()))
            writer.write(reply(DUCK, "Content-Type: text/html"))
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # The client has what it wants.
        finally:
            writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", asked


async def test_ddgs_asks_a_public_engine(search, duck, certs):
    proxy, asked = duck
    options = {"backend": "duckduckgo", "proxy": proxy, "ca_file": str(certs / "ca.pem"), "timeout": 60}
    tool = search(providers=["ddgs"], ddgs=options, timeout=60)
    answer = await tool.ainvoke({"query": "otters", "language": "de-CH", "period": "week"})
    assert (answer["status"], answer["provider"]) == ("success", "ddgs")
    assert answer["results"] == [
        {"title": "Otters in rivers", "url": "https://otters.example/", "snippet": "All about otters."}
    ]
    connect, post, form = asked[:3]
    assert connect == "CONNECT html.duckduckgo.com:443 HTTP/1.1"
    assert post.startswith("POST /html/ HTTP/1.1")
    assert (form["q"], form["l"], form["df"]) == (["otters"], ["ch-de"], ["w"])


async def test_ddgs_without_an_answer(search):
    tool = search(providers=["ddgs"], ddgs={"backend": "duckduckgo", "proxy": "http://127.0.0.1:9", "timeout": 10})
    message = await tool.ainvoke(call(query="otters s3cret"))
    assert message.status == "error"
    assert "the search engines do not answer" in message.content
    assert "s3cret" not in message.content


@pytest.mark.slow
async def test_engines_that_are_not_waited_for_have_not_found_nothing(search, monkeypatch):
    def request(*_args, **_options):
        time.sleep(2.5)  # the library waits twice
        raise DDGSException("it came too late")

    monkeypatch.setattr("ddgs.http_client.HttpClient.request", request)
    tool = search(providers=["ddgs"], ddgs={"backend": "duckduckgo", "timeout": 1}, timeout=60)
    message = await tool.ainvoke(call(query="otters"))
    assert message.status == "error"
    assert "the search engines do not answer" in message.content


class Shelf(SearchProvider):
    def __init__(self, hits=(), error=None):
        self.hits = hits
        self.error = error
        self.asked = []

    async def search(self, query):
        self.asked.append(query)
        if self.error:
            raise self.error
        return self.hits


@pytest.fixture
def with_shelves():
    def make(**shelves):
        plugins = load_plugins()
        for number, (name, shelf) in enumerate(shelves.items()):
            registration = SearchProviderRegistration(
                name=name, summary="", factory=lambda _options, shelf=shelf: shelf, preference=number
            )
            plugins.search_providers.add(registration, "third-party")
        return plugins

    return make


FOUND = SearchHit(title="Book", url="https://book.example/")


async def test_a_third_partys_provider_is_asked_like_any_other(search, with_shelves):
    shelf = Shelf([FOUND])
    answer = await search(with_shelves(shelf=shelf)).ainvoke({"query": "otters"})
    assert (answer["provider"], answer["results"][0]["title"]) == ("shelf", "Book")
    assert shelf.asked[0].text == "otters"


async def test_the_next_provider_is_asked_where_one_fails_or_finds_nothing(search, with_shelves):
    plugins = with_shelves(
        broken=Shelf(error=XAgentError("broken", "it is closed")), empty=Shelf(), full=Shelf([FOUND])
    )
    answer = await search(plugins).ainvoke({"query": "otters"})
    assert answer["provider"] == "full"
    assert answer["failed_providers"] == {"broken": "it is closed."}


async def test_providers_are_asked_in_the_order_that_the_operator_names(search, with_shelves):
    first, second = Shelf([FOUND]), Shelf([FOUND])
    answer = await search(with_shelves(first=first, second=second), providers=["second"]).ainvoke({"query": "otters"})
    assert (answer["provider"], first.asked) == ("second", [])


async def test_a_provider_that_hangs_is_left(search, with_shelves):
    class Hanging(Shelf):
        async def search(self, _query):
            await asyncio.Event().wait()

    plugins = with_shelves(hanging=Hanging(), full=Shelf([FOUND]))
    answer = await search(plugins, timeout=0.1).ainvoke({"query": "otters"})
    assert answer["provider"] == "full"
    assert "no answer within 0.1 seconds" in answer["failed_providers"]["hanging"]


async def test_no_provider_answers(search, with_shelves):
    plugins = with_shelves(broken=Shelf(error=XAgentError("broken", "it is closed", "Wait.")))
    message = await search(plugins, providers=["broken"]).ainvoke(call(query="otters"))
    assert message.status == "error"
    assert "no search provider answers (broken: it is closed. Wait.)" in message.content


async def test_a_search_is_checked(search):
    for arguments in ({"query": ""}, {"query": "x", "max_results": 1000}, {"query": "x", "language": "../"}):
        message = await search().ainvoke(call(**arguments))
        assert message.status == "error"
        assert "invalid arguments" in message.content


@pytest.mark.parametrize(
    ("options", "place"),
    [
        ({"searxng": {"url": "not an address"}}, r"tools\.web_search\.searxng\.url"),
        ({"searxng": {}}, r"tools\.web_search\.searxng\.url"),
        ({"providers": ["searxng"]}, r"tools\.web_search\.searxng\.url"),
        ({"ddgs": {"region": "everywhere"}}, r"tools\.web_search\.ddgs\.region"),
        ({"timeout": 0}, r"tools\.web_search\.timeout"),
        ({"providers": []}, r"tools\.web_search\.providers"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(search, options, place):
    with pytest.raises(ConfigError, match=place):
        search(**options)


@pytest.mark.parametrize("options", [{"providers": ["gogle"]}, {"gogle": {"key": "x"}}])
def test_a_provider_that_is_not_installed(search, options):
    with pytest.raises(UnknownPluginError, match="search provider gogle"):
        search(**options)
