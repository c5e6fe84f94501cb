"""What the trials ask of a queue, as its users would: submit, wait for the result, cancel."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

__all__ = ["CannotCancelError", "Client", "Subject"]


class CannotCancelError(Exception):
    """The queue has no means to stop a task that runs."""


class Client(ABC):
    """A connection of one who submits tasks."""

    @abstractmethod
    async def noop(self, token: str = "") -> Any:
        """Submits a task that does nothing, and returns the queue's own handle of it."""

    @abstractmethod
    async def wait(self, seconds: float, token: str, *, note: bool = False) -> Any:
        """Submits a task that waits."""

    @abstractmethod
    async def result(self, handle: Any) -> None:
        """Waits for a task's end in the way that the queue offers."""

    @abstractmethod
    async def cancel(self, handle: Any) -> None:
        """Cancels a task that runs.

        Raises:
            CannotCancelError: The queue has no means to.
        """


class Subject(Protocol):
    """A module of `benchmarks.queues.subjects`."""

    def worker(self) -> list[str]:
        """The command of one worker."""

    def client(self) -> AbstractAsyncContextManager[Client]:
        """A connection."""
