"""Brings ids of jobs to workers by Celery: one task, whose only arguments are the job's id and its named queue."""

from __future__ import annotations

import asyncio
import concurrent.futures
import re
import threading
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from celery import Celery
from kombu.exceptions import ChannelError, OperationalError

from xagent_core import Carrier, ConfigError, Delivery, QueueUnavailableError
from xagent_core.queueing.store import Store, check_url, without_secrets
from xagent_queue_celery.app import TASK, declared, make_app, queue_name
from xagent_queue_celery.consumer import THREADS, Consumer

__all__ = ["CeleryCarrier"]

T = TypeVar("T")

_SECONDS: Final = 15.0
_REDIS: Final = ("redis://", "rediss://")
_RABBITMQ: Final = ("amqp://", "amqps://", "pyamqp://")


class CeleryCarrier(Carrier):
    """Carries by Celery.

    Args:
        url: The broker: a Redis or a RabbitMQ.
        store: The Redis that keeps the books; by default the broker, where it is one.
        longest: Seconds that a job may take at most.
        prefix: Before all names at the broker.

    Raises:
        ConfigError: A URL is of another kind, or there is nowhere to keep the books.
    """

    name = "celery"

    def __init__(
        self,
        url: str = "redis://localhost:6379/0",
        *,
        store: str | None = None,
        longest: float = 3600.0,
        prefix: str = "xagent",
    ) -> None:
        if not url.startswith((*_REDIS, *_RABBITMQ)):
            raise ConfigError(
                "queue celery", f"{without_secrets(url)} is no URL that it knows", "Use redis:// or amqp://."
            )
        for server in (*re.split(r";(?=\w+://)", url), *([store] if store else [])):  # a broker may be a list
            check_url(server, "queue celery")
        if store is None and not url.startswith(_REDIS):
            raise ConfigError(
                "queue celery",
                "RabbitMQ carries messages, and keeps no books of jobs",
                'Name a Redis for them: store = "redis://..." in [queues.celery].',
            )
        if not 1 <= longest <= 31 * 86_400:
            raise ConfigError("queue celery", f"longest={longest!r} is out of bounds", "Choose from 1 to 2678400 s.")
        self.longest = longest
        self._url = url
        self._store = store or url
        self._prefix = prefix
        self._app: Celery | None = None

    async def open(self) -> Store:
        """The books are kept in the Redis."""
        self._app = make_app(self._url, prefix=self._prefix, longest=self.longest or 0)
        return Store.connect(self._store)

    async def send(self, job_id: str, queue: str) -> None:
        """Sends a task."""
        app, name = self._opened(), queue_name(self._prefix, queue)

        def send() -> None:
            app.send_task(TASK, args=[job_id, queue], queue=name, retry=False, ignore_result=True)

        await self._asked(send)

    async def waiting(self, queue: str) -> int:
        """What is in the broker's queue and no worker has taken."""
        app, name = self._opened(), queue_name(self._prefix, queue)

        def count() -> int:
            with app.connection_for_read() as connection:
                try:
                    return int(connection.default_channel.queue_declare(name, passive=True).message_count)
                except ChannelError:  # nothing was ever sent to it
                    return 0

        return await self._asked(count)

    async def deliver(self, deliver: Delivery, *, queues: Sequence[str], slots: int) -> None:
        """Runs a Celery worker in a thread; its threads wait for coroutines of this event loop."""
        loop = asyncio.get_running_loop()

        def run(job_id: str, queue: str) -> None:
            asyncio.run_coroutine_threadsafe(_called(deliver, job_id, queue), loop).result()

        app = make_app(self._url, prefix=self._prefix, longest=self.longest or 0)
        # Not shared: every other application of this process would get it too.
        app.task(name=TASK, ignore_result=True, shared=False)(run)
        app.conf.task_queues = declared(self._prefix, tuple(queues))
        names = [queue_name(self._prefix, queue) for queue in queues]
        consumer = Consumer(app, queues=names, slots=slots)
        ended: concurrent.futures.Future[None] = concurrent.futures.Future()
        # A daemon, since a broker that is away must not keep the process from ending.
        threading.Thread(target=_into(ended, consumer.run), name=THREADS, daemon=True).start()
        waiting = asyncio.wrap_future(ended)
        try:
            await asyncio.shield(waiting)
        except asyncio.CancelledError:
            while not waiting.done():  # told while it loses its broker, it would not have heard
                consumer.stop()
                await asyncio.wait([waiting], timeout=1)
            consumer.forget_stop()
            waiting.result()
        finally:
            app.close()

    async def aclose(self) -> None:
        """Closes the connections of those who submit."""
        app, self._app = self._app, None
        if app is not None:
            await asyncio.to_thread(app.close)

    def _opened(self) -> Celery:
        if self._app is None:
            raise ConfigError("queue celery", "it is not open", "Use `async with get_queue(...) as queue:`.")
        return self._app

    async def _asked(self, call: Callable[[], T]) -> T:
        try:
            async with asyncio.timeout(_SECONDS):
                return await asyncio.to_thread(call)
        except (OperationalError, OSError, TimeoutError) as error:
            cause = str(error) or "it did not answer in time"
            raise QueueUnavailableError("queue celery", f"{without_secrets(self._url)}: {cause}") from error


async def _called(deliver: Delivery, job_id: str, queue: str) -> None:
    await deliver(job_id, queue)


def _into(future: concurrent.futures.Future[None], call: Callable[[], None]) -> Callable[[], None]:
    """Calls, and puts what comes of it into a future."""

    def run() -> None:
        try:
            call()
        # Whatever ends a thread must be known to who waits for it.
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(None)

    return run
