"""Reaches the server that keeps the books, and tells a server that is away from one that refuses."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from xagent_core.errors import ConfigError, QueueError, QueueUnavailableError

__all__ = ["Store", "check_url", "without_secrets"]

_SECONDS: Final = 10.0
_START_IT: Final = "Start it, or mend XAGENT_QUEUE_URL."
_WRITE: Final = "Write redis://, rediss:// or unix://."
_ENCODE: Final = "Percent-encode the password: / as %2F, # as %23, ? as %3F, @ as %40."


@dataclass(frozen=True, kw_only=True, slots=True)
class Store:
    """A client of Redis' commands.

    Attributes:
        client: Has `register_script`, `hgetall`, `xread`, `zcount`, `zrange`, `smembers` and others, as
            redis-py's asyncio client has them, with answers in bytes.
        place: Where it is, for errors; without a password.
        has_clock: Whether scripts can ask it for the time.
        owned: Whether `aclose` closes the client.
        scripts: Those that were run, as the client has them.
    """

    client: Any
    place: str
    has_clock: bool = True
    owned: bool = True
    scripts: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def connect(cls, url: str) -> Store:
        """A store at a URL; nothing is sent yet.

        Args:
            url: `redis://`, `rediss://` or `unix://`, as redis-py reads it.

        Raises:
            ConfigError: It is no such URL, or redis-py is not installed.
        """
        check_url(url, "queue")
        try:
            from redis.asyncio import Redis
            from redis.asyncio.retry import Retry
            from redis.backoff import NoBackoff
        except ImportError as error:
            raise ConfigError(
                "queue", "redis-py is not installed", "Install it: pip install 'xagent-core[redis]'"
            ) from error
        try:
            # Retrying is for callers, who know how long they care to wait.
            # How long to wait for an answer is for each call, some of which block.
            client = Redis.from_url(url, socket_connect_timeout=5, socket_timeout=None, retry=Retry(NoBackoff(), 0))
        except ValueError:
            # Without the cause, which may quote the password.
            raise ConfigError("queue", f"{without_secrets(url)} is no URL of a Redis", f"{_WRITE} {_ENCODE}") from None
        return cls(client=client, place=without_secrets(url))

    def now(self) -> str:
        """What scripts are given as the time: nothing where the server knows it itself."""
        return "" if self.has_clock else f"{time.time():.6f}"

    async def run(self, script: str, prefix: str, *arguments: str | float) -> Any:
        """Runs a script of `xagent_core.queueing.scripts`.

        Raises:
            QueueUnavailableError: The server does not answer.
            QueueError: It refuses.
        """
        async with self.blamed():
            async with asyncio.timeout(_SECONDS):
                # By its digest: the server has the text already, and reads it once.
                if script not in self.scripts:
                    self.scripts[script] = self.client.register_script(script)
                return await self.scripts[script](args=[prefix, self.now(), *map(str, arguments)])

    async def call(self, command: str, *arguments: Any, seconds: float = _SECONDS, **options: Any) -> Any:
        """Calls a command of the client.

        Raises:
            QueueUnavailableError: The server does not answer within `seconds`.
            QueueError: It refuses.
        """
        async with self.blamed():
            async with asyncio.timeout(seconds):
                return await getattr(self.client, command)(*arguments, **options)

    @contextlib.asynccontextmanager
    async def blamed(self) -> AsyncIterator[None]:
        """Turns what the client raises into this project's errors."""
        from redis import exceptions

        try:
            yield
        except exceptions.AuthenticationError as error:
            raise QueueError(self.place, f"it refuses to let us in: {error}", "Mend the URL's password.") from error
        except (exceptions.ConnectionError, exceptions.TimeoutError, OSError, TimeoutError) as error:
            if self.owned:
                # Else each of them would fail in its turn when the server has long been back.
                await self.client.connection_pool.disconnect(inuse_connections=False)
            cause = str(error) or "it did not answer in time"
            raise QueueUnavailableError(
                self.place, f"the queue's server does not answer: {cause}", _START_IT
            ) from error
        except exceptions.RedisError as error:
            raise QueueError(self.place, f"the queue's server refuses: {error}") from error

    async def aclose(self) -> None:
        """Frees the connections."""
        if self.owned:
            await self.client.aclose()


def check_url(url: str, component: str) -> None:
    """Refuses a URL that its password breaks, of which a part would count as the host or as its port.

    Args:
        url: A server's URL.
        component: Who refuses it.

    Raises:
        ConfigError: It is such a URL; the error does not have the password.
    """
    try:
        parts = urlsplit(url)
        _port = parts.port  # which is read now, and may be none
        rest = parts.path + parts.fragment + parts.query.partition("=")[0]
        broken = "@" in rest and parts.scheme != "unix"
    except ValueError:  # it quotes the password
        broken = True
    if broken:
        raise ConfigError(component, f"{without_secrets(url)} cannot be read as a URL", _ENCODE)


def without_secrets(url: str) -> str:
    """The URL without what may be secret, for errors and logs.

    By text: nobody knows where in a URL that cannot be parsed the password ends, but that it is before the last `@`.
    """
    scheme, mark, rest = url.partition("://") if "://" in url else ("", "", url)
    place, _, query = rest.partition("?")
    if "@" in query:
        return f"{scheme}{mark}***"
    _, at, place = place.rpartition("@")
    return f"{scheme}{mark}{'***@' if at else ''}{place}"
