"""The contract of a task queue: it carries requests to workers that run the same engine.

No first-party queue is built on it yet; the retry, event and dead-letter calls come with the first that is.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from xagent_core.types import ExecutionRequest, ExecutionResult

__all__ = ["JobState", "QueueRegistration", "TaskQueue"]

JobState = Literal["queued", "running", "finished", "failed", "cancelled"]


class TaskQueue(ABC):
    """Submits requests and follows what becomes of them. Payloads are JSON."""

    name: str

    @abstractmethod
    async def submit(self, request: ExecutionRequest) -> str:
        """Hands a request over and returns the job's id.

        Raises:
            XAgentError: The queue's server did not take it; nothing was submitted.
        """

    @abstractmethod
    async def state(self, job_id: str) -> JobState:
        """Where the job stands.

        Raises:
            InvalidRequestError: There is no such job.
        """

    @abstractmethod
    async def result(self, job_id: str) -> ExecutionResult:
        """Waits for the job's end and returns its result.

        Raises:
            InvalidRequestError: There is no such job.
            XAgentError: The job could not be run: the error that the worker's engine raised.
        """

    @abstractmethod
    async def cancel(self, job_id: str) -> None:
        """Cancels the job; one that runs is killed with its sandbox. Nothing happens to one that has ended.

        Raises:
            InvalidRequestError: There is no such job.
        """

    @abstractmethod
    async def aclose(self) -> None:
        """Frees connections. Jobs go on."""


@dataclass(frozen=True, kw_only=True)
class QueueRegistration:
    """Announces a task queue.

    Attributes:
        name: What users write.
        summary: One line.
        factory: Called with the queue's settings; imports the heavy module when it is called.
        api_version: The version of the plugin interface that it was written for.
    """

    name: str
    summary: str
    factory: Callable[[Mapping[str, Any]], TaskQueue]
    api_version: int = 1
