"""No address that is not of the public web is reached, however it is written, and whatever leads there."""

from __future__ import annotations

import asyncio
import socket
from ipaddress import ip_address
from pathlib import Path

import httpx
import pytest
from xagent_tools_web.errors import WebError
from xagent_tools_web.reach import reach_of
from xagent_tools_web.settings import WebSettings
from xagent_tools_web.web import Web

from xagent_core import ConfigError

LINES = Path(__file__).with_name("attacks.txt").read_text("utf-8").splitlines()
ATTACKS = [line for line in LINES if line and not line.startswith("#")]


def split(line: str) -> tuple[list[str], str]:
    """The addresses that a name is said to have, and the URL."""
    addresses, _, url = line.partition(" http") if line[0] in "0123456789abcdef:" else ("", "", "")
    return (addresses.split(","), f"http{url}") if url else ([], line)


NAMES = {httpx.URL(url).host: addresses for addresses, url in map(split, ATTACKS) if addresses}


def resolve(host, port, *_rest):
    """Answers for the names above as `socket.getaddrinfo` would, and asks that for every other one."""
    if host not in NAMES:
        return socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM)
    found = []
    for address in NAMES[host]:
        plain, _, zone = address.partition("%")
        four = ip_address(plain).version == 4
        family = socket.AF_INET if four else socket.AF_INET6
        place = (address, port) if four else (address, port, 0, 1 if zone else 0)
        found.append((family, socket.SOCK_STREAM, 6, "", place))
    return found


@pytest.fixture(scope="module")
def web():
    return Web(WebSettings(robots=False), resolver=resolve)


def test_the_table_is_long_enough():
    assert len(ATTACKS) >= 60
    assert len(set(ATTACKS)) == len(ATTACKS)


@pytest.fixture
def never_connects(monkeypatch):
    """Any connection at all fails the test."""

    async def connect(*args, **options):
        raise AssertionError(f"a connection was made: {args} {options}")

    monkeypatch.setattr("anyio.connect_tcp", connect)


@pytest.mark.parametrize("line", ATTACKS)
async def test_is_refused(line, web, never_connects):
    _, url = split(line)
    with pytest.raises(WebError) as caught:
        await web.request("GET", url)
    assert any(word in str(caught.value) for word in ("refused", "not a usable address", "no such host")), caught.value
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("line", ATTACKS)
async def test_is_refused_where_a_redirect_leads_there(line, web, never_connects):
    """The second request is judged as the first one: here without the first, which needs a server."""
    _, url = split(line)
    first = web._request("GET", "https://8.8.8.8/deep/page", None, None)
    try:
        second = web._redirected(first, 302, url)
    except WebError:
        return
    if second.url.host == "8.8.8.8" and second.url.port is None and not second.url.userinfo:
        return  # A reference without a host stays where it is: that is no attack.
    with pytest.raises(WebError):
        await web.request("GET", str(second.url))


@pytest.mark.parametrize(
    "address",
    (
        "1.1.1.1 8.8.8.8 100.63.255.255 100.128.0.1 172.15.0.1 172.32.0.1 192.0.1.1 192.167.0.1 198.17.255.255 "
        "198.20.0.1 169.253.0.1 223.255.255.254 11.0.0.1 128.0.0.1 2606:4700::1111 2001:4860:4860::8888 "
        "2a00:1450:4001::1 2400:cb00::1 2620:fe::fe"
    ).split(),
)
def test_public_addresses_are_not_refused(address):
    reach_of(WebSettings()).check_address(address)


def test_an_operator_opens_a_network_and_no_more():
    reach = reach_of(WebSettings(allow_networks=("10.1.0.0/16", "fd00:1::/32")))
    assert reach.permits_address("10.1.2.3")
    assert reach.permits_address("fd00:1::1")
    assert not reach.permits_address("10.2.0.1")
    assert not reach.permits_address("::ffff:10.1.2.3")
    with pytest.raises(ConfigError, match="allow_networks"):
        reach_of(WebSettings(allow_networks=("64:ff9b::/96",)))


def test_an_operator_closes_public_networks():
    reach = reach_of(WebSettings(deny_networks=("8.8.8.0/24",)))
    assert not reach.permits_address("8.8.8.8")
    assert reach.permits_address("8.8.4.4")


def test_behind_nat64_the_address_inside_is_judged():
    reach = reach_of(WebSettings(dns64=True, deny_networks=("8.8.4.0/24",)))
    assert reach.permits_address("64:ff9b::8.8.8.8")
    assert not reach.permits_address("64:ff9b::10.0.0.1")
    assert not reach.permits_address("64:ff9b::8.8.4.4")
    assert not reach.permits_address("64:ff9b:1::8.8.8.8")
    assert not reach.permits_address("::ffff:8.8.8.8")


@pytest.mark.parametrize("host", ["evil.example", "a.evil.example", "EVIL.example.", "bücher.example", "1.2.3.4"])
async def test_the_deny_list_has_a_host_and_all_below_it(host, never_connects):
    web = Web(WebSettings(deny_hosts=("evil.example", "BÜCHER.example", "1.2.3.4"), robots=False))
    with pytest.raises(WebError, match="deny-list"):
        await web.request("GET", f"https://{host}/")


async def test_the_allow_list_leaves_nothing_else(never_connects):
    private = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.1", 443))]
    settings = WebSettings(allow_hosts=("docs.example", "*.api.example"), robots=False)
    web = Web(settings, resolver=lambda *_: private)
    for host in ("evil.example", "evildocs.example", "a.docs.example", "api.example", "docs.example.evil.example"):
        with pytest.raises(WebError, match="allowed_hosts"):
            await web.request("GET", f"https://{host}/")
    for host in ("docs.example", "DOCS.example.", "v1.api.example"):
        # The name is allowed, and the address behind it is judged all the same.
        with pytest.raises(WebError, match="not of the public web"):
            await web.request("GET", f"https://{host}/")


async def test_a_name_look_up_that_hangs_takes_no_longer_than_the_call(never_connects):
    release = asyncio.Event()
    loop = asyncio.get_running_loop()

    def hang(*_):
        asyncio.run_coroutine_threadsafe(release.wait(), loop).result(20)
        return []

    web = Web(WebSettings(robots=False, timeout=0.3), resolver=hang)
    with pytest.raises(WebError, match=r"took longer than 0\.3 seconds"):
        await web.request("GET", "http://slow.example/")
    release.set()
