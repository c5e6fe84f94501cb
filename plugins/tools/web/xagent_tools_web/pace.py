"""Spreads requests to one host over time, whatever thread or event loop they come from."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Final

from pyrate_limiter import Limiter, Rate, SingleBucketFactory, StateBucket, TokenBucket

__all__ = ["Pace"]

_MOST_HOSTS: Final = 1024


class Pace:
    """A rate for each host.

    Args:
        rate: Requests a second, over time.
        burst: Requests that need not wait.
    """

    def __init__(self, *, rate: float, burst: int) -> None:
        # So many in so many milliseconds is the rate; as many may come at once.
        self._rate = Rate(burst, max(1, round(1000 * burst / rate)))
        self._hosts: OrderedDict[str, Limiter] = OrderedDict()
        self._lock = threading.Lock()

    async def wait(self, host: str) -> None:
        """Waits until a request to this host may be made."""
        await self._limiter(host).try_acquire_async(host)

    def _limiter(self, host: str) -> Limiter:
        with self._lock:
            limiter = self._hosts.pop(host, None)
            if limiter is None:
                bucket = StateBucket([self._rate], algorithm=TokenBucket())
                limiter = Limiter(SingleBucketFactory(bucket, schedule_leak=False))
            self._hosts[host] = limiter
            while len(self._hosts) > _MOST_HOSTS:
                self._hosts.popitem(last=False)
            return limiter
