"""Asks a site's robots.txt whether a page may be read (RFC 9309)."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Final

import httpx
from protego import Protego

__all__ = ["MOST_BYTES", "Robots"]

MOST_BYTES: Final = 500 * 1024
"""What a reader of robots.txt takes at least (RFC 9309, section 2.5); what is beyond is not read."""

_SECONDS: Final = 3600.0
"""For how long an answer holds; the standard allows a day (section 2.4)."""

_SECONDS_WITHOUT: Final = 60.0
"""For how long a site is left alone that cannot say what is open."""

_MOST_SITES: Final = 256
_NOTHING: Final = "User-agent: *\nDisallow: /"


class Robots:
    """The rules of the sites that were asked last.

    Args:
        product: The name under which rules are looked up.
    """

    def __init__(self, product: str) -> None:
        self._product = product
        self._sites: OrderedDict[str, tuple[float, Protego]] = OrderedDict()
        self._lock = threading.Lock()

    async def allows(self, url: httpx.URL, fetch: Callable[[httpx.URL], Awaitable[tuple[int, bytes]]]) -> bool:
        """Whether a page may be read.

        Args:
            url: The page.
            fetch: Gets robots.txt: status and body. A status of 0 says that its answer is of no use.
        """
        site = str(url.copy_with(path="/robots.txt", query=None, fragment=None))
        with self._lock:
            until, rules = self._sites.get(site, (0.0, None))
        if rules is None or time.monotonic() > until:
            status, body = await fetch(httpx.URL(site))
            rules = _rules(status, body)
            holds = _SECONDS if 200 <= status < 500 else _SECONDS_WITHOUT
            with self._lock:
                self._sites[site] = (time.monotonic() + holds, rules)
                self._sites.move_to_end(site)
                while len(self._sites) > _MOST_SITES:
                    self._sites.popitem(last=False)
        return rules.can_fetch(str(url), self._product)


def _rules(status: int, body: bytes) -> Protego:
    """What an answer means (RFC 9309, section 2.3.1)."""
    if 200 <= status < 300:
        return Protego.parse(body.decode("utf-8", "replace"))
    # None there, or none for us: everything is open. A site that cannot answer now: everything is closed.
    return Protego.parse("" if 300 <= status < 500 else _NOTHING)
