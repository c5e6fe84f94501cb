"""Caching by the standard, robots.txt, and nothing in the logs that is nobody's business."""

from __future__ import annotations

import logging
import socket
import traceback

import pytest
from xagent_tools_web.errors import WebError, shown
from xagent_tools_web.settings import WebSettings
from xagent_tools_web.web import Web


def many(routes, reply, *lines):
    routes["/"] = reply("hello", *lines)


async def asks(web, site, **options):
    return (await web.request("GET", site.url(), **options)).from_cache


async def test_a_response_is_kept_as_long_as_it_says(site, web_to, reply):
    many(site.routes, reply, "Cache-Control: max-age=60")
    web = web_to(site, robots=False)
    assert [await asks(web, site) for _ in range(3)] == [False, True, True]
    assert site.paths == ["/"]


@pytest.mark.parametrize(
    "lines", [["Cache-Control: no-store"], ["Cache-Control: private, max-age=60"], ["Cache-Control: max-age=0"], []]
)
async def test_a_response_that_must_not_be_kept_is_not(site, web_to, reply, lines):
    many(site.routes, reply, *lines)
    web = web_to(site, robots=False)
    assert [await asks(web, site) for _ in range(2)] == [False, False]
    assert site.paths == ["/", "/"]


async def test_a_stale_response_is_asked_about(site, web_to, reply):
    async def changing(asked, writer):
        known = asked.headers.get("if-none-match") == '"one"'
        lines = ["Cache-Control: no-cache", 'ETag: "one"']
        writer.write(reply("", *lines, status="304 Not Modified") if known else reply("hello", *lines))

    site.routes["/"] = changing
    web = web_to(site, robots=False)
    bodies = [(await web.request("GET", site.url())).body for _ in range(2)]
    assert bodies == [b"hello", b"hello"]
    assert site.asked[1].headers["if-none-match"] == '"one"'


async def test_what_came_for_somebodys_secret_is_kept_for_nobody(site, web_to, reply):
    many(site.routes, reply, "Cache-Control: public, max-age=60")
    web = web_to(site, robots=False)
    for header in ("Authorization", "Cookie", "X-Api-Key"):
        assert await asks(web, site, headers={header: "s3cret"}) is False
    assert await asks(web, site) is False
    assert await asks(web, site, headers={"X-Api-Key": "s3cret"}) is False


async def test_vary_is_honoured(site, web_to, reply):
    many(site.routes, reply, "Cache-Control: max-age=60", "Vary: Accept")
    web = web_to(site, robots=False)
    kinds = ["text/html", "text/plain", "text/html", "text/plain"]
    assert [await asks(web, site, headers={"Accept": kind}) for kind in kinds] == [False, False, True, True]


async def test_a_change_makes_the_cache_forget(site, web_to, reply):
    many(site.routes, reply, "Cache-Control: max-age=60")
    web = web_to(site, robots=False, methods=["GET", "POST"])
    await asks(web, site)
    await web.request("POST", site.url(), body=b"change")
    assert await asks(web, site) is False


async def test_the_cache_keeps_to_its_size(site, web_to, reply):
    site.routes["/"] = reply("x" * 4000, "Cache-Control: max-age=60")
    web = web_to(site, robots=False, cache="20k")
    for n in range(10):
        await web.request("GET", site.url(f"/?{n}"))
    assert (await web.request("GET", site.url("/?9"))).from_cache is True
    assert (await web.request("GET", site.url("/?0"))).from_cache is False


async def test_the_cache_can_be_switched_off(site, web_to, reply):
    many(site.routes, reply, "Cache-Control: max-age=60")
    web = web_to(site, robots=False, cache=0)
    assert [await asks(web, site) for _ in range(2)] == [False, False]


async def test_robots_txt_closes_pages(site, web_to, reply):
    site.routes |= {"/robots.txt": reply("User-agent: *\nDisallow: /private\n"), "/": reply("hello")}
    web = web_to(site)
    assert (await web.request("GET", site.url())).body == b"hello"
    with pytest.raises(WebError, match=r"robots\.txt closes this page"):
        await web.request("GET", site.url("/private/page"))
    assert site.paths == ["/robots.txt", "/"]


async def test_robots_txt_may_speak_to_this_robot_alone(site, web_to, reply):
    rules = "User-agent: *\nDisallow:\n\nUser-agent: librarian\nDisallow: /"
    site.routes |= {"/robots.txt": reply(rules), "/": reply("hello")}
    assert (await web_to(site).request("GET", site.url())).status_code == 200
    with pytest.raises(WebError, match=r"robots\.txt"):
        await web_to(site, user_agent="librarian/2.0 (+https://library.example)").request("GET", site.url())
    assert site.asked[-1].headers["user-agent"].startswith("librarian/2.0")


@pytest.mark.parametrize(("status", "open_"), [("404 Not Found", True), ("403 No", True), ("503 Later", False)])
async def test_a_robots_txt_that_cannot_be_had(site, web_to, reply, status, open_):
    site.routes |= {"/robots.txt": reply("", status=status), "/": reply("hello")}
    web = web_to(site)
    if open_:
        assert (await web.request("GET", site.url())).status_code == 200
    else:
        with pytest.raises(WebError, match="cannot be had"):
            await web.request("GET", site.url())


@pytest.mark.parametrize(
    ("url", "cause"),
    [
        ("http://no-such-host.invalid/x", "there is no such host"),
        ("http://intranet.example/x", "refused: its name leads to an address that is not of the public web"),
        ("http://localhost/x", "refused: "),
        ("http://10.1.2.3/x", "refused: "),
    ],
)
async def test_what_cannot_be_reached_is_not_said_to_be_closed_by_robots_txt(url, cause):
    def resolve(host, *_):
        if host.endswith(".invalid"):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, 1, 6, "", ("10.1.2.3", 80))]

    with pytest.raises(WebError) as caught:
        await Web(WebSettings(), resolver=resolve).request("GET", url)
    assert caught.value.component == f"GET {url}"
    assert caught.value.cause.startswith(cause)
    assert "robots" not in str(caught.value)
    assert "10.1.2.3" not in str(caught.value).replace(url, "")


async def test_a_connection_that_fails_is_said_to_fail_though_robots_txt_was_asked_for_first(site, tls_site, web_to):
    with pytest.raises(WebError, match=r"HEAD https://.*/x: the server's certificate is not valid"):
        await web_to(tls_site).request("HEAD", tls_site.url("/x"))
    with socket.socket() as taken:  # nobody else can listen there meanwhile
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(WebError, match=r"GET http://.*/x: no connection could be made"):
            await web_to(site, ports=[port]).request("GET", f"http://127.0.0.1:{port}/x")


async def test_a_redirect_to_what_cannot_be_reached_is_said_to_be_one(site, web_to, reply):
    site.routes["/"] = reply("", "Location: http://localhost./", status="302 Found")
    web = web_to(site, ports=[site.port, 80], allow_networks=["127.0.0.1/32"], deny_hosts=["localhost"])
    with pytest.raises(WebError, match=r"GET http://localhost\./: refused: a redirect led there, and"):
        await web.request("GET", site.url())


async def test_a_robots_txt_that_leads_to_what_cannot_be_reached_cannot_be_had(site, web_to, reply):
    site.routes |= {"/robots.txt": reply("", "Location: http://10.1.2.3/", status="302 Found"), "/": reply("hello")}
    with pytest.raises(WebError, match="cannot be had") as caught:
        await web_to(site, ports=[site.port, 80]).request("GET", site.url())
    assert "10.1.2.3" not in str(caught.value)


async def test_an_operator_exempts_a_host_from_robots_txt(site, web_to, reply):
    site.routes |= {"/robots.txt": reply("User-agent: *\nDisallow: /"), "/": reply("hello")}
    web = web_to(site, robots_exempt=["127.0.0.1"])
    assert (await web.request("GET", site.url())).body == b"hello"
    assert site.paths == ["/"]


async def test_what_is_sent_does_not_ask_robots_txt(site, web_to, reply):
    site.routes["/"] = reply("done")
    await web_to(site, methods=["POST"]).request("POST", site.url(), body=b"x")
    assert site.paths == ["/"]


async def test_each_site_that_a_redirect_leads_to_is_asked_for_its_robots_txt(site, other_site, web_to):
    closed = b"HTTP/1.1 200 OK\r\nContent-Length: 25\r\nConnection: close\r\n\r\nUser-agent: *\nDisallow: /"
    site.routes["/"] = f"HTTP/1.1 302 Found\r\nLocation: {other_site.url()}\r\nContent-Length: 0\r\n\r\n".encode()
    other_site.routes["/robots.txt"] = closed
    with pytest.raises(WebError, match=r"robots\.txt"):
        await web_to(site, other_site).request("GET", site.url())
    assert other_site.paths == ["/robots.txt"]


async def test_secrets_are_in_no_log_and_in_no_error(site, web_to, reply, caplog):
    caplog.set_level(logging.DEBUG)
    site.routes["/"] = reply("hello", "Set-Cookie: session=s3cret")
    web = web_to(site, robots=False, methods=["GET", "POST"])
    secrets = {"Authorization": "Bearer s3cret", "X-Api-Key": "s3cret"}
    await web.request("GET", site.url("/?token=s3cret"), headers=secrets)
    await web.request("POST", site.url(), headers=secrets, body=b"s3cret")
    for url in (
        "http://u:s3cret@8.8.8.8/",
        "http://10.0.0.1/?token=s3cret#s3cret",
        site.url("/?s3cret", "[::1]"),
        "http://u:s3cret",
    ):
        with pytest.raises(WebError) as caught:
            await web.request("GET", url)
        assert "s3cret" not in "".join(traceback.format_exception(caught.value)).replace(f'"{url}"', "")
    assert "127.0.0.1: 200, 5 bytes" in caplog.text
    assert "s3cret" not in caplog.text


async def test_where_an_internal_name_leads_is_for_the_log_only(site, web_to, caplog):
    web = web_to(site, robots=False, ports=[80], resolver=lambda *_: [(socket.AF_INET, 1, 6, "", ("10.1.2.3", 80))])
    with pytest.raises(WebError) as caught:
        await web.request("GET", "http://intranet.example/")
    assert "10." not in str(caught.value)
    assert "10.0.0.0/8 is Private-Use" in caplog.text


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("https://user:pass@example.com:8443/a/b?token=1#frag", "https://example.com:8443/a/b"),
        ("data:text/html,secret", "data:..."),
        ("not an address", "the address"),
        ("http://" + "a" * 300, "http://" + "a" * 193 + "..."),
    ],
)
def test_addresses_are_shown_without_their_secrets(url, text):
    assert shown(url) == text
