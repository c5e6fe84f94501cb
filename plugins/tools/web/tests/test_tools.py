"""The tools as an agent uses them: by name, synchronously and not, with answers that a model can act on."""

from __future__ import annotations

import asyncio
import base64
import json

import pytest

from xagent_core import ConfigError, Engine, Settings, get_tools
from xagent_core.testing.fakes import FakeBackend

NAMES = ["fetch_url", "http_request", "scrape_page"]

ARTICLE = """<!doctype html><html lang="en"><head><title>On Otters | River News</title>
<meta name="author" content="Ada Waters"><meta name="description" content="What otters do.">
<meta property="article:published_time" content="2024-05-01"></head><body>
<nav><a href="/home">Home</a> <a href="/about#team">About us</a></nav>
<article><h1>On Otters</h1><p>Otters are mammals that live in and near rivers. They are <b>playful</b>,
and they swim well, which everybody who has seen one knows, and nobody forgets.</p>
<p>They eat fish and crabs. Read <a href="fish.html?kind=all">about fish</a> or
<a href="https://example.org/crabs">crabs</a>, or write
<a href="mailto:ada@example.org">a letter</a>, or <a href="javascript:alert(1)">run this</a>.</p>
<ul><li>They sleep on land.</li><li>They hold hands.</li></ul></article>
<footer>Cookies! Accept all cookies!</footer><script>document.write("script")</script></body></html>"""


@pytest.fixture
def tools(site):
    def make(*names, **options):
        web = {"allow_networks": ["127.0.0.1/32"], "ports": [site.port], "robots": False} | options
        engine = Engine(FakeBackend(), settings=Settings(tools={"web": web}))
        made = get_tools(engine, names=names or NAMES)
        return made[0] if len(names) == 1 else made

    return make


def call(name, **arguments):
    return {"type": "tool_call", "id": "1", "name": name, "args": arguments}


def test_every_argument_is_described_and_bounded(tools):
    for tool in tools():
        schema = tool.tool_call_schema.model_json_schema()
        assert tool.description
        for name, field in schema["properties"].items():
            assert field.get("description"), f"{tool.name}.{name}"
            kinds = [field, *field.get("anyOf", [])]
            bounded = any(
                {"maxLength", "maximum", "enum", "const", "maxProperties", "pattern"} & kind.keys() for kind in kinds
            )
            assert bounded, f"{tool.name}.{name}"


async def test_a_page_is_read_piece_by_piece(site, tools, reply):
    site.routes["/"] = reply("0123456789" * 30, "Content-Type: text/plain; charset=utf-8", "Cache-Control: max-age=60")
    fetch = tools("fetch_url")
    first = await fetch.ainvoke({"url": site.url(), "max_characters": 200})
    assert first["status"] == "success"
    assert first["http_status"] == 200
    assert (first["content"], first["next_offset"], first["total_characters"]) == ("0123456789" * 20, 200, 300)
    rest = await fetch.ainvoke({"url": site.url(), "max_characters": 200, "offset": first["next_offset"]})
    assert (rest["content"], rest["from_cache"]) == ("0123456789" * 10, True)
    assert "next_offset" not in rest
    assert site.paths == ["/"]


def test_a_tool_can_be_called_without_an_event_loop(site, tools, reply):
    site.routes["/"] = reply("hello", "Content-Type: text/plain")
    assert tools("fetch_url").invoke({"url": site.url()})["content"] == "hello"


async def test_a_tool_can_be_called_synchronously_in_an_event_loop(site, tools, reply):
    site.routes["/"] = reply("hello", "Content-Type: text/plain")
    assert tools("fetch_url").invoke({"url": site.url()})["content"] == "hello"


async def test_twenty_calls_at_once(site, tools, reply):
    site.routes["/"] = reply("hello", "Content-Type: text/plain")
    fetch = tools("fetch_url", rate=1000, burst=100)
    calls = [fetch.ainvoke({"url": site.url(f"/?{n}")}) for n in range(10)]
    calls += [asyncio.to_thread(fetch.invoke, {"url": site.url(f"/?{n}")}) for n in range(10, 20)]
    answers = await asyncio.gather(*calls)
    assert [answer["content"] for answer in answers] == ["hello"] * 20
    assert len(set(site.paths)) == 20


async def test_an_error_of_the_server_is_a_result(site, tools):
    answer = await tools("fetch_url").ainvoke({"url": site.url("/missing")})
    assert (answer["status"], answer["http_status"], answer["content"]) == ("error", 404, "nothing here")


async def test_an_error_of_the_tool_is_one_that_a_model_can_act_on(tools):
    message = await tools("fetch_url").ainvoke(call("fetch_url", url="http://169.254.169.254/latest/"))
    assert message.status == "error"
    assert message.content.startswith("GET http://169.254.169.254/latest/: refused: ")
    assert message.content.endswith("Only the public web can be reached.")
    message = await tools("fetch_url").ainvoke(call("fetch_url", url="http://example.com", max_characters=0))
    assert message.status == "error"
    assert "max_characters" in message.content


async def test_what_is_not_text_is_in_the_artifact(site, tools, reply):
    image = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
    site.routes["/"] = reply(image, "Content-Type: image/png")
    message = await tools("fetch_url").ainvoke(call("fetch_url", url=site.url()))
    shown = json.loads(message.content)
    assert (shown["content"], shown["binary"], shown["size"]) == ("", True, len(image))
    assert base64.b64decode(message.artifact["base64"]) == image
    json.dumps(message.artifact)


@pytest.mark.parametrize(
    ("body", "kind", "text"),
    [
        ("grüß".encode(), "text/plain", "grüß"),
        ("grüß".encode("latin-1"), "text/plain; charset=ISO-8859-1", "grüß"),
        ("grüß".encode("utf-16"), "text/plain", "grüß"),
        ("\ufeffgrüß".encode(), "application/json", "grüß"),
        ("<meta charset='windows-1251'>привет".encode("cp1251"), "text/html", "<meta charset='windows-1251'>привет"),
        ("grüß".encode(), "text/plain; charset=nonsense", "grüß"),
        ("grüß".encode()[:-1], "text/plain", "grü"),
        (b"no type", "", "no type"),
        (b'{"a": 1}', "application/vnd.api+json", '{"a": 1}'),
    ],
)
async def test_text_is_read_in_its_encoding(site, tools, reply, body, kind, text):
    site.routes["/"] = reply(body, *([f"Content-Type: {kind}"] if kind else []))
    assert (await tools("fetch_url").ainvoke({"url": site.url()}))["content"] == text


async def test_a_body_that_is_too_long_is_cut_and_said_to_be(site, tools, reply):
    site.routes["/"] = reply("x" * 5000, "Content-Type: text/plain")
    answer = await tools("fetch_url", max_bytes="1k").ainvoke({"url": site.url()})
    assert (answer["size"], answer["truncated"]) == (1024, True)


async def test_a_request_has_headers_and_a_body(site, tools, reply):
    site.routes["/api"] = reply('{"ok": true}', "Content-Type: application/json", "X-Limit: 9", status="201 Created")
    request = tools("http_request", methods=["GET", "POST"])
    answer = await request.ainvoke(
        {"url": site.url("/api"), "method": "POST", "json_body": {"a": [1]}, "headers": {"X-Key": "k"}}
    )
    assert (answer["status"], answer["http_status"], answer["content"]) == ("success", 201, '{"ok": true}')
    assert answer["headers"]["x-limit"] == "9"
    asked = site.asked[0]
    assert (asked.method, json.loads(asked.body)) == ("POST", {"a": [1]})
    assert (asked.headers["content-type"], asked.headers["x-key"]) == ("application/json", "k")


async def test_a_header_of_the_callers_takes_the_place_of_the_usual_one_in_any_case(site, tools, reply):
    sent = []

    async def keep(asked, writer):
        sent.append([name.lower() for name in asked.names])
        writer.write(reply("{}"))

    site.routes["/api"] = keep
    headers = {"accept": "application/json", "user-agent": "me/1", "content-type": "application/vnd+json"}
    await tools("http_request", methods=["POST"]).ainvoke(
        {"url": site.url("/api"), "method": "POST", "json_body": {"a": 1}, "headers": headers}
    )
    assert all(sent[0].count(name) == 1 for name in headers)
    assert headers.items() <= site.asked[0].headers.items()


async def test_a_header_that_is_given_twice_is_refused(site, tools):
    twice = {"X-Key": "one", "x-key": "two"}
    message = await tools("http_request").ainvoke(call("http_request", url=site.url(), headers=twice))
    assert (message.status, site.asked) == ("error", [])
    assert "the header x-key is given twice" in message.content


async def test_pages_are_read_whatever_a_request_may_do(site, tools, reply):
    site.routes["/"] = reply("hello", "Content-Type: text/plain")
    assert (await tools("fetch_url", methods=["POST"]).ainvoke({"url": site.url()}))["content"] == "hello"
    message = await tools("http_request", methods=["POST"]).ainvoke(call("http_request", url=site.url(), method="GET"))
    assert message.status == "error"


async def test_other_methods_are_the_operators_to_allow(site, tools, reply):
    site.routes["/"] = reply("")
    message = await tools("http_request").ainvoke(call("http_request", url=site.url(), method="DELETE"))
    assert message.status == "error"
    assert "'GET' or 'HEAD'" in message.content
    head = await tools("http_request").ainvoke({"url": site.url(), "method": "HEAD"})
    assert (head["http_status"], head["content"]) == (200, "")
    assert [asked.method for asked in site.asked] == ["HEAD"]


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "internal.example"},
        {"host": "internal.example"},
        {"Content-Length": "5"},
        {"Transfer-Encoding": "chunked"},
        {"Connection": "upgrade"},
        {"Proxy-Authorization": "x"},
        {"X-Forwarded-For": "127.0.0.1"},
        {"X-HTTP-Method-Override": "DELETE"},
        {"X": "a\r\nHost: internal.example"},
        {"X\r\nHost": "internal.example"},
        {"X": "a\n"},
        {"X": "a\x00b"},
        {"": "a"},
        {"X Y": "a"},
    ],
)
async def test_headers_that_change_whom_a_request_is_for_are_refused(site, tools, headers):
    message = await tools("http_request").ainvoke(call("http_request", url=site.url(), headers=headers))
    assert message.status == "error"
    assert "header" in message.content
    assert "internal.example" not in message.content
    assert site.asked == []


async def test_an_article_is_read_as_a_person_reads_it(site, tools, reply):
    site.routes["/news/otters"] = reply(ARTICLE, "Content-Type: text/html; charset=utf-8")
    answer = await tools("scrape_page").ainvoke({"url": site.url("/news/otters")})
    assert answer["status"] == "success"
    assert answer["title"].startswith("On Otters")
    assert answer["metadata"]["author"] == "Ada Waters"
    assert answer["metadata"]["date"] == "2024-05-01"
    assert answer["metadata"]["description"] == "What otters do."
    assert "**playful**" in answer["content"]
    assert "- They hold hands." in answer["content"]
    assert "script" not in answer["content"]
    assert "cookies" not in answer["content"]
    assert answer["links"] == [
        {"url": site.url("/home"), "text": "Home"},
        {"url": site.url("/about"), "text": "About us"},
        {"url": site.url("/news/fish.html?kind=all"), "text": "about fish"},
        {"url": "https://example.org/crabs", "text": "crabs"},
    ]
    plain = await tools("scrape_page").ainvoke({"url": site.url("/news/otters"), "format": "text", "max_links": 1})
    assert "playful" in plain["content"]
    assert "**" not in plain["content"]
    assert len(plain["links"]) == 1


@pytest.mark.parametrize(
    "page", ["", "   ", "<", "<html></html>", "<p>" * 5000, "<!--", "\x00<b>hello</b>", "<a href='http://[bad/'>x</a>"]
)
async def test_a_page_without_an_article(site, tools, reply, page):
    site.routes["/"] = reply(page, "Content-Type: text/html")
    answer = await tools("scrape_page").ainvoke({"url": site.url()})
    assert answer["status"] == "success"
    assert answer["links"] == []


async def test_what_is_no_page_is_not_scraped(site, tools, reply):
    site.routes |= {"/a.pdf": reply(b"%PDF-1.7\x00", "Content-Type: application/pdf"), "/a.txt": reply("hello")}
    message = await tools("scrape_page").ainvoke(call("scrape_page", url=site.url("/a.pdf")))
    assert (message.status, message.content.endswith("Use fetch_url.")) == ("error", True)


async def test_the_tools_share_cache_and_pace(site, tools, reply):
    site.routes["/"] = reply("<p>hello</p>", "Content-Type: text/html", "Cache-Control: max-age=60")
    fetch, request, _ = tools()
    await fetch.ainvoke({"url": site.url()})
    assert (await request.ainvoke({"url": site.url()}))["from_cache"] is True


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"prots": [80]}, "prots"),
        ({"ports": [0]}, "ports"),
        ({"ports": []}, "ports"),
        ({"methods": ["BREW"]}, "methods"),
        ({"max_bytes": "lots"}, "max_bytes"),
        ({"max_header_bytes": "1m"}, "max_header_bytes"),
        ({"allow_networks": ["10.0.0.1/8"]}, "allow_networks"),
        ({"allow_networks": ["64:ff9b::/96"]}, "allow_networks"),
        ({"deny_hosts": ["http://example.com/"]}, "deny_hosts"),
        ({"deny_hosts": ["*"]}, "deny_hosts"),
        ({"allow_hosts": ["a.*.example"]}, "allow_hosts"),
        ({"timeout": 0}, "timeout"),
        ({"rate": 0}, "rate"),
        ({"user_agent": "a\r\nb"}, "user_agent"),
        ({"ca_file": "/nowhere/ca.pem"}, "ca_file"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(tools, options, name):
    with pytest.raises(ConfigError, match=rf"tools\.web\.{name}"):
        tools("fetch_url", **options)
