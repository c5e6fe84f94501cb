"""Judges guards against requests to the inside by the table of attacks of the web tools.

    nox -s bench_guards

Each guard is asked for each URL of the table; what it would connect to is recorded, and nothing is connected to. The
names of the table are answered by a stub of `socket.getaddrinfo`.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import socket
import warnings
from collections.abc import Awaitable, Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final
from unittest import mock

import httpx

ROOT: Final = Path(__file__).parents[1]
ATTACKS: Final = ROOT / "plugins/tools/web/tests/attacks.txt"
DOCUMENT: Final = ROOT / "docs/tools-web.md"
BEGIN: Final = "<!-- measured: written by `nox -s bench_guards` -->\n"
END: Final = "<!-- end of what was measured -->"

Guard = Callable[[str], Awaitable[object]]


class NoConnectionError(OSError):
    """Instead of a connection."""


def table() -> list[tuple[list[str], str]]:
    """The addresses that a name is said to have, and the URL, of each line."""
    rows = []
    for line in ATTACKS.read_text("utf-8").splitlines():
        if line and not line.startswith("#"):
            named = line[0] in "0123456789abcdef:" and " http" in line
            addresses, _, url = line.partition(" ") if named else ("", "", line)
            rows.append((addresses.split(",") if addresses else [], url))
    return rows


def stub(names: dict[str, list[str]]) -> Callable[..., list[Any]]:
    """`socket.getaddrinfo`, but for these names."""
    real = socket.getaddrinfo

    def look_up(host: str | bytes, port: Any, *rest: Any, **options: Any) -> list[Any]:
        name = host.decode() if isinstance(host, bytes) else host
        if name not in names:
            return real(host, port, *rest, **options)
        found: list[Any] = []
        for address in names[name]:
            if ip_address(address.partition("%")[0]).version == 4:
                found.append((socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, int(port or 0))))
            else:
                place = (address, int(port or 0), 0, 1 if "%" in address else 0)
                found.append((socket.AF_INET6, socket.SOCK_STREAM, 6, "", place))
        return found

    return look_up


async def nothing(url: str) -> None:
    """No guard at all."""
    async with httpx.AsyncClient(trust_env=False, timeout=3) as client:
        await client.get(url)


async def by_hand(url: str) -> None:
    """What is usually written by hand."""
    for *_, place in socket.getaddrinfo(httpx.URL(url).host, 80):
        address = ip_address(place[0])
        if address.is_private or address.is_loopback or address.is_link_local or address.is_multicast:
            raise ValueError(url)
        if address.is_reserved:
            raise ValueError(url)
    await nothing(url)


async def ssrfguard(url: str) -> None:
    """ssrfguard, its policy as it comes."""
    from ssrfguard import Policy
    from ssrfguard.httpx import AsyncClient

    async with AsyncClient(policy=Policy(), trust_env=False, timeout=3) as client:
        await client.get(url)


async def httpx_secure(url: str) -> None:
    """httpx-secure, on a client of httpx."""
    from httpx_secure import httpx_ssrf_protection

    async with httpx_ssrf_protection(httpx.AsyncClient(trust_env=False, timeout=3)) as client:
        await client.get(url)


async def drawbridge(url: str) -> None:
    """drawbridge, its policy as it comes."""
    from drawbridge import Client

    async with Client() as client:
        await client.get(url)


async def microsoft_antissrf(url: str) -> None:
    """Microsoft's AntiSSRF, with http allowed, as the others have it."""
    from AntiSSRF._antissrf_agent import AntiSSRFSession
    from AntiSSRF.antissrf_policy import AntiSSRFPolicy, PolicyConfigOptions

    policy = AntiSSRFPolicy(PolicyConfigOptions.EXTERNAL_ONLY_LATEST)
    policy.allow_plain_text_http = True
    session = AntiSSRFSession(policy)
    session.trust_env = False
    session.get(url, timeout=3)


async def these_tools(url: str) -> None:
    """What xagent's web tools stand on."""
    from xagent_tools_web.settings import WebSettings
    from xagent_tools_web.web import Web

    await Web(WebSettings(robots=False, timeout=3)).request("GET", url)


GUARDS: Final[dict[str, tuple[Guard, str]]] = {
    "no guard (httpx)": (nothing, "httpx"),
    "is_private, by hand": (by_hand, ""),
    "httpx-secure": (httpx_secure, "httpx-secure"),
    "drawbridge": (drawbridge, "drawbridge"),
    "ssrfguard": (ssrfguard, "ssrfguard"),
    "microsoft-antissrf": (microsoft_antissrf, "microsoft-antissrf"),
    "these tools": (these_tools, "xagent-tools-web"),
}


async def judged(guard: Guard, url: str, seen: list[Any]) -> bool:
    """Whether a guard would have connected."""
    seen.clear()
    # A refusal has as many forms as there are guards; what counts is what was recorded.
    with contextlib.suppress(Exception):
        await asyncio.wait_for(guard(url), 10)
    return bool(seen)


async def main() -> None:
    """Judges each guard, and writes what came of it into the document."""
    rows = table()
    names = {httpx.URL(url).host: addresses for addresses, url in rows if addresses}
    seen: list[Any] = []

    def connect(_socket: object, place: object) -> None:
        seen.append(place)
        raise NoConnectionError

    async def connect_in_loop(_loop: object, _socket: object, place: object) -> None:
        seen.append(place)
        raise NoConnectionError

    mock.patch("socket.getaddrinfo", stub(names)).start()
    mock.patch("socket.socket.connect", connect).start()
    mock.patch("asyncio.selector_events.BaseSelectorEventLoop.sock_connect", connect_in_loop).start()
    lines = [f"| guard | version | of {len(rows)}, it would connect to |", "|---|---|--:|"]
    for name, (guard, distribution) in GUARDS.items():
        reached = [url for _, url in rows if await judged(guard, url, seen)]
        print(f"{name}: {len(reached)}", *reached, sep="\n  ")  # noqa: T201
        version = importlib.metadata.version(distribution) if distribution else ""
        lines.append(f"| {name} | {version} | {len(reached)} |")
    text = DOCUMENT.read_text("utf-8")
    before, _, rest = text.partition(BEGIN)
    DOCUMENT.write_text(before + BEGIN + "\n" + "\n".join(lines) + "\n\n" + END + rest.partition(END)[2], "utf-8")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    asyncio.run(main())
