"""Each redirect is judged again, and takes no secret to another site."""

from __future__ import annotations

import socket

import pytest
from xagent_tools_web.errors import WebError


def to(url, status="302 Found"):
    head = (
        f"HTTP/1.1 {status}\r\nLocation: {url}\r\nSet-Cookie: session=s3cret\r\nContent-Length: 0\r\nConnection: close"
    )
    return f"{head}\r\n\r\n".encode()


@pytest.mark.parametrize(
    "target",
    [
        "http://169.254.169.254/latest/meta-data/",
        "http://127.0.0.1:22/",
        "http://127.0.0.2/",
        "//10.0.0.1/",
        "http://[::1]/",
        "http://user@127.0.0.1/",
        "file:///etc/passwd",
        "gopher://127.0.0.1/",
        "http://0x7f.2/",
        "http://[::ffff:169.254.169.254]/",
    ],
)
async def test_a_redirect_to_what_is_not_public_is_refused(site, web_to, target):
    site.routes["/"] = to(target)
    with pytest.raises(WebError, match="refused: a redirect led there"):
        await web_to(site, robots=False, ports=[site.port, 80]).request("GET", site.url())
    assert site.paths == ["/"]


async def test_redirects_are_followed_and_told(site, web_to, reply):
    site.routes |= {"/a": to("b?q=1", "301 Moved"), "/b": to("/c", "308 Permanent"), "/c": reply("there")}
    page = await web_to(site, robots=False).request("GET", site.url("/a"))
    assert (page.status_code, page.body, str(page.url)) == (200, b"there", site.url("/c"))
    assert page.redirects == (site.url("/a"), site.url("/b"))
    assert "cookie" not in site.asked[-1].headers


async def test_redirects_without_end_are_given_up(site, web_to):
    site.routes["/"] = to("/?again")
    with pytest.raises(WebError, match="more than 3 redirects"):
        await web_to(site, robots=False, max_redirects=3).request("GET", site.url())
    assert len(site.paths) == 4
    with pytest.raises(WebError, match="more than 0 redirects"):
        await web_to(site, robots=False, max_redirects=0).request("GET", site.url())


SECRETS = {"Authorization": "Bearer s3cret", "Cookie": "id=s3cret", "X-Api-Key": "s3cret", "Accept": "text/plain"}


async def test_another_site_gets_no_secret(site, other_site, web_to, reply):
    site.routes["/"] = to(other_site.url("/there"))
    other_site.routes["/there"] = reply("hello")
    await web_to(site, other_site, robots=False).request("GET", site.url(), headers=SECRETS)
    first, second = site.asked[0].headers, other_site.asked[0].headers
    assert first["authorization"] == "Bearer s3cret"
    assert "s3cret" not in str(second)
    assert second["accept"] == "text/plain"


async def test_the_same_site_gets_them_again(site, web_to, reply):
    site.routes |= {"/": to("/there"), "/there": reply("hello")}
    await web_to(site, robots=False).request("GET", site.url(), headers=SECRETS)
    assert site.asked[1].headers["authorization"] == "Bearer s3cret"


@pytest.mark.parametrize(("status", "method", "body"), [("303 See Other", "GET", b""), ("307 Same", "POST", b"data")])
async def test_what_is_sent_goes_on_as_the_standard_says(site, web_to, reply, status, method, body):
    site.routes |= {"/": to("/there", status), "/there": reply("done")}
    web = web_to(site, robots=False, methods=["POST"])
    await web.request("POST", site.url(), headers={"Content-Type": "text/plain"}, body=b"data")
    assert (site.asked[1].method, site.asked[1].body) == (method, body)
    assert ("content-type" in site.asked[1].headers) == (method == "POST")


async def test_what_is_sent_goes_to_no_other_site(site, other_site, web_to):
    site.routes["/"] = to(other_site.url("/there"), "307 Same")
    with pytest.raises(WebError, match="leads to another site"):
        await web_to(site, other_site, robots=False, methods=["POST"]).request("POST", site.url(), body=b"s3cret")
    assert other_site.asked == []


async def test_the_connection_goes_to_the_address_that_was_judged(site, web_to, reply):
    """A name that is public when it is judged, and leads to this machine a moment later."""
    site.routes["/"] = reply("hello")
    answers = ["127.0.0.1", "127.0.0.2", "10.0.0.1", "169.254.169.254"]
    asked = []

    def rebinding(host, port, *_):
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (answers[len(asked) - 1], port))]

    web = web_to(site, resolver=rebinding, robots=False)
    page = await web.request("GET", site.url(host="rebind.example"))
    assert (page.body, asked) == (b"hello", ["rebind.example"])
    assert site.asked[0].headers["host"] == f"rebind.example:{site.port}"
    for _ in answers[1:]:
        with pytest.raises(WebError, match="not of the public web"):
            await web.request("GET", site.url(host="rebind.example"))
    assert len(site.asked) == 1


async def test_tls_is_verified_against_the_name(tls_site, web_to, reply, certs):
    tls_site.routes["/"] = reply("hello")
    here = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", tls_site.port))]
    web = web_to(tls_site, resolver=lambda *_: here, robots=False, ca_file=str(certs / "ca.pem"))
    page = await web.request("GET", tls_site.url(host="site.example"))
    assert page.body == b"hello"
    assert tls_site.names == ["site.example"]
    assert tls_site.asked[0].headers["host"] == f"site.example:{tls_site.port}"
    with pytest.raises(WebError, match="certificate is not valid"):
        await web.request("GET", tls_site.url(host="other.example"))
    usual = web_to(tls_site, resolver=lambda *_: here, robots=False)
    with pytest.raises(WebError, match="certificate is not valid"):
        await usual.request("GET", tls_site.url(host="site.example"))
