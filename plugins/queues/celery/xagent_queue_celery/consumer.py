"""Runs Celery's worker in a thread, several of them in one process if need be, and ends it in order."""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from celery import Celery
from celery.concurrency.thread import TaskPool
from celery.exceptions import WorkerShutdown
from celery.worker import WorkController, state
from kombu.asynchronous import set_event_loop

from xagent_core.queueing.outages import demote

__all__ = ["Consumer"]

logger = logging.getLogger(__name__)

THREADS: Final = "xagent-celery"
"""What the names of all threads begin with that Celery has here."""
_LOOK_SECONDS: Final = 0.05
_LOGGERS: Final = ("celery.worker.consumer.consumer", "celery.worker.request")
_SAID: Final = ("consumer: Cannot connect", "consumer: Connection to broker lost", "Couldn't ack")


class _Once(logging.Filter):
    """Makes what Celery repeats of a broker that is away a matter of debugging; of each outage the first is heard."""

    def __init__(self) -> None:
        super().__init__()
        self.since: float | None = None

    def filter(self, record: logging.LogRecord) -> bool:
        if not (record.threadName or "").startswith(THREADS) or not record.getMessage().startswith(_SAID):
            return True
        if self.since is None:
            self.since = time.monotonic()
            return True
        return demote(record)

    def over(self) -> None:
        """Says that the broker is back."""
        if self.since is not None:
            logger.warning("Celery's broker is back after %.1f s", time.monotonic() - self.since)
            self.since = None


class _Threads(TaskPool):  # type: ignore[misc]
    """Threads that know which application they work for: Celery looks it up by thread."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.executor = ThreadPoolExecutor(self.limit, thread_name_prefix=THREADS, initializer=self.app.set_current)


class _Controller(WorkController):  # type: ignore[misc]
    """Celery's worker, without the parts that own a process."""

    stopping: threading.Event
    outages: _Once

    def on_consumer_ready(self, consumer: Any) -> None:  # noqa: ARG002 - Celery calls it
        """Looks from now on whether it is to end."""
        self.hub.timer.call_repeatedly(_LOOK_SECONDS, self._look)

    def _look(self) -> None:
        self.outages.over()  # without its broker, Celery calls nothing
        if self.stopping.is_set():
            raise WorkerShutdown(0)


class Consumer:
    """A Celery worker of so many threads.

    Args:
        app: Its application, with the task registered.
        queues: The broker's names of the queues that it consumes, in their order.
        slots: Messages at once.
    """

    def __init__(self, app: Celery, *, queues: list[str], slots: int) -> None:
        self._stopping = threading.Event()
        # Celery shares one event loop in the process: each of our workers is given its own.
        set_event_loop(None)
        self._controller = _Controller(
            app=app, queues=queues, pool_cls=_Threads, concurrency=slots, loglevel="WARNING",
            without_gossip=True, without_mingle=True, without_heartbeat=True,
        )  # fmt: skip
        self._controller.stopping = self._stopping
        self._controller.outages = _Once()

    def run(self) -> None:
        """Consumes until `stop` is called; returns when the messages under way are done."""
        loggers = [logging.getLogger(name) for name in _LOGGERS]
        for each in loggers:
            each.addFilter(self._controller.outages)
        try:
            self._controller.start()
        finally:
            for each in loggers:
                each.removeFilter(self._controller.outages)
        if self._controller.exitcode:
            raise RuntimeError(f"Celery's worker has ended with {self._controller.exitcode}: see its log")

    def stop(self) -> None:
        """Takes no further messages."""
        self._stopping.set()
        consumer = getattr(self._controller, "consumer", None)
        if consumer is None or consumer.connection is None:
            # It waits for its broker, and only looks at this, which is of the whole process.
            state.should_stop = 0

    @staticmethod
    def forget_stop() -> None:
        """Undoes what `stop` told the whole process."""
        state.should_stop = None
