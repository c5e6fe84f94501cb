"""Runs Celery's worker in a thread, several of them in one process if need be, and ends it in order."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from celery import Celery
from celery.concurrency.thread import TaskPool
from celery.exceptions import WorkerShutdown
from celery.worker import WorkController, state
from kombu.asynchronous import set_event_loop

__all__ = ["Consumer"]

_LOOK_SECONDS: Final = 0.05


class _Threads(TaskPool):  # type: ignore[misc]
    """Threads that know which application they work for: Celery looks it up by thread."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.executor = ThreadPoolExecutor(max_workers=self.limit, initializer=self.app.set_current)


class _Controller(WorkController):  # type: ignore[misc]
    """Celery's worker, without the parts that own a process."""

    stopping: threading.Event

    def on_consumer_ready(self, consumer: Any) -> None:  # noqa: ARG002 - Celery calls it
        """Looks from now on whether it is to end."""
        self.hub.timer.call_repeatedly(_LOOK_SECONDS, self._look)

    def _look(self) -> None:
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

    def run(self) -> None:
        """Consumes until `stop` is called; returns when the messages under way are done."""
        self._controller.start()
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
