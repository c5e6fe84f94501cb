"""The task queue as callers see it: submit, follow, fetch, cancel, requeue."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import math
import re
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Any, Final, Self, TypeVar, Unpack

from xagent_core.abc.queue import Carrier, Job, JobEvent, JobState, QueueStats, ToolCall, ToolResult
from xagent_core.config import load_settings
from xagent_core.errors import (
    InvalidRequestError,
    JobCancelledError,
    JobDeadError,
    QueueError,
)
from xagent_core.kinds import check
from xagent_core.plugins import Plugins, load_plugins
from xagent_core.queueing.books import Books, BooksConfig
from xagent_core.queueing.observing import named, tell
from xagent_core.queueing.outages import patiently
from xagent_core.queueing.retry import MOST_ATTEMPTS, RetryPolicy
from xagent_core.request import RequestArguments, make_request
from xagent_core.types import ExecutionRequest, ExecutionResult

__all__ = ["TaskQueue"]

logger = logging.getLogger(__name__)

T = TypeVar("T")

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_LONGEST_KEY: Final = 256
_LONGEST_DELAY: Final = 366 * 86_400
_ANY_TIME: Final = (0.0, math.inf)
_SEND_SECONDS: Final = 2.0
_STATES: Final[tuple[JobState, ...]] = ("queued", "running", "finished", "dead", "cancelled")


class TaskQueue:
    """Takes jobs for workers, and follows what becomes of them.

    Use it as an async context manager. Made by `get_queue`, or of a carrier of your own.

    Args:
        carrier: Brings the jobs to workers.
        config: How long, how often, how much.
        retry: When jobs that could not be run are tried again.
        plugins: Their observers are told what happens; by default what is installed.
        patience: Seconds for which `result` and `events` bear a server that is away.

    Raises:
        ConfigError: The patience is no number of seconds.
    """

    def __init__(
        self,
        carrier: Carrier,
        *,
        config: BooksConfig | None = None,
        retry: RetryPolicy | None = None,
        plugins: Plugins | None = None,
        patience: float = 60.0,
    ) -> None:
        check("patience", patience, float, _ANY_TIME, component="queue")
        self.carrier = carrier
        self.config = config or BooksConfig()
        self.retry = retry or RetryPolicy()
        self.plugins = plugins or load_plugins(load_settings().disabled_plugins)
        self._patience = patience
        self._books: Books | None = None

    @property
    def name(self) -> str:
        """The carrier's name."""
        return self.carrier.name

    @property
    def books(self) -> Books:
        """What is known of every job.

        Raises:
            QueueError: The queue is not open.
        """
        if self._books is None:
            raise QueueError("queue", "it is not open", "Use `async with get_queue(...) as queue:`.")
        return self._books

    async def __aenter__(self) -> Self:
        """Makes ready. A server that is away is no error before something is asked of it.

        Raises:
            ConfigError: A URL or an option cannot be used.
        """
        self._books = Books(await self.carrier.open(), self.config)
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Frees connections; jobs go on. May be called again."""
        books, self._books = self._books, None
        if books is not None:
            try:
                await books.store.aclose()
            finally:
                await self.carrier.aclose()

    async def submit(
        self,
        code: str | ExecutionRequest | ToolCall,
        *,
        queue: str = "default",
        idempotent: bool = False,
        key: str | None = None,
        delay: float = 0.0,
        attempts: int | None = None,
        headers: Mapping[str, str] | None = None,
        patience: float = 0.0,
        **arguments: Unpack[RequestArguments],
    ) -> Job:
        """Hands a job over. When it returns, the job is in the books and will come to an end.

        Args:
            code: Source text, a whole request, or a tool's call.
            queue: The named queue. Workers serve those that they are told to, the most urgent first.
            idempotent: Whether it may run more than once. Else it is only tried again when it cannot have begun.
            key: An idempotency key: a second submission with it gives the first one's job back.
            delay: Seconds before it may start.
            attempts: How often it may be begun, instead of the retry policy's number.
            headers: Text that goes with the job, such as a trace's context.
            patience: Seconds to wait for a server that does not answer.
            **arguments: Beside source text: those of `Engine.execute`.

        Returns:
            The job.

        Raises:
            InvalidRequestError: The request, a name or a number cannot be used, or the key belongs to another request.
            QueueUnavailableError: The server does not answer. Submitting again with a key is safe.
            TypeError: There are arguments beside a whole request or a tool's call.
        """
        if isinstance(code, ToolCall) and arguments:
            raise TypeError(f"a tool's call takes no further arguments: {', '.join(arguments)}")
        request = code if isinstance(code, ToolCall) else make_request(code, **arguments)
        self._check(request)
        _check_values(queue, key, attempts, headers or {}, idempotent=idempotent, delay=delay, patience=patience)
        job_id, given = uuid.uuid4().hex, dict(headers or {})
        seen = named(request, self.plugins)
        self.plugins.observe("xagent_job_submitting", request=seen, queue=queue, headers=given)

        async def enter() -> tuple[Job, bool]:
            return await self.books.submit(
                job_id,
                request,
                queue=queue,
                attempts=attempts or self.retry.attempts,
                idempotent=idempotent,
                key=key,
                delay=delay,
                headers=given,
            )

        # An answer that was lost does no harm: the id is ours, and entered once.
        job, new = await patiently(enter, patience)
        if new:
            # Before a worker can have it.
            tell(self.plugins, "xagent_job_submitted", job)
            if not delay:
                await self._send(job, patience)
        return job

    async def _send(self, job: Job, patience: float) -> None:
        try:
            # Again at least once: the connections of a server that was away fail, each in its turn.
            await patiently(lambda: self.carrier.send(job.id, job.queue), max(patience, _SEND_SECONDS))
        except QueueError as error:
            logger.warning("job %s is in the books, and its message will be sent by a worker: %s", job.id, error)

    def _check(self, request: ExecutionRequest | ToolCall) -> None:
        longest = self.carrier.longest
        timeout = request.limits.timeout if isinstance(request, ExecutionRequest) else None
        if longest is not None and timeout is not None and timeout > longest:
            raise InvalidRequestError(
                f"queue {self.name}",
                f"a job may take {longest:g} s here, and this one asks for {timeout:g} s",
                f"Lower its timeout, or raise the option `longest` of [queues.{self.name}] for all workers.",
            )

    async def job(self, job_id: str) -> Job:
        """Where a job stands.

        Raises:
            JobNotFoundError: There is none of that id.
            QueueUnavailableError: The server does not answer.
        """
        return await self.books.job(job_id)

    async def jobs(self, *states: JobState, queue: str | None = None, limit: int = 50) -> list[Job]:
        """Jobs in these states, or in any; the latest first.

        Raises:
            QueueUnavailableError: The server does not answer.
        """
        return await self.books.jobs(states or _STATES, queue, limit)

    async def result(self, job_id: str, *, timeout: float | None = None) -> ExecutionResult:  # noqa: ASYNC109
        """Waits for the end of a job that runs a program.

        Args:
            job_id: The job.
            timeout: Seconds to wait; by default for as long as it takes.

        Returns:
            What became of its program, a failing one included.

        Raises:
            TimeoutError: It has not ended by then, and goes on.
            InvalidRequestError: It is a tool's call.
            JobNotFoundError: There is none of that id.
            JobDeadError: It could not be run; the error has the cause.
            JobCancelledError: It was cancelled.
            QueueUnavailableError: The server has not answered for longer than the queue's patience.
        """
        return await self._result(job_id, ExecutionResult, timeout)

    async def tool_result(self, job_id: str, *, timeout: float | None = None) -> ToolResult:  # noqa: ASYNC109
        """Waits for the end of a job that is a tool's call; as `result`, but for what it gives back.

        Args:
            job_id: The job.
            timeout: Seconds to wait; by default for as long as it takes.

        Returns:
            What came of the call, a failing one included.

        Raises:
            XAgentError: What `result` raises; `InvalidRequestError` where the job runs a program.
            TimeoutError: It has not ended by then, and goes on.
        """
        return await self._result(job_id, ToolResult, timeout)

    async def _result(self, job_id: str, kind: type[T], seconds: float | None) -> T:
        async with asyncio.timeout(seconds):
            async with contextlib.aclosing(self.events(job_id)) as events:
                async for _ in events:
                    pass
            result = _result_of(await self._awaited(self.books.job, job_id))
        if not isinstance(result, kind):
            raise InvalidRequestError(
                f"job {job_id}",
                f"its result is a {type(result).__name__}",
                "`result` is for programs, `tool_result` for tools' calls.",
            )
        return result

    async def events(self, job_id: str, *, after: int = 0, follow: bool = True) -> AsyncGenerator[JobEvent, None]:
        """What happened to a job, and what happens while it is followed.

        Args:
            job_id: The job.
            after: The number of the last event that is known already; 0 begins at the first.
            follow: Whether to wait for more until the job has ended.

        Yields:
            Events in their order, none twice and none left out.

        Raises:
            JobNotFoundError: There is none of that id.
            QueueUnavailableError: The server has not answered for longer than the queue's patience.
        """
        over, seen = (await self._awaited(self.books.job, job_id)).over, after
        while True:
            wait = 2.0 if follow and not over else 0.001
            batch = await self._awaited(self.books.events, job_id, seen, wait)
            for event in batch:
                seen = event.sequence
                yield event
            if not batch and (over or not follow):
                return
            if not over and (not batch or batch[-1].kind == "ended"):
                over = (await self._awaited(self.books.job, job_id)).over

    async def _awaited(self, call: Callable[..., Awaitable[T]], *arguments: Any) -> T:
        """Asks the books, and bears a server that is away for as long as the queue is patient."""
        return await patiently(lambda: call(*arguments), self._patience)

    async def cancel(self, job_id: str) -> Job:
        """Cancels a job: one that waits never starts, one that runs is killed with its sandbox.

        Nothing happens to one that has ended. A running job is `running` until its worker has killed it.

        Raises:
            JobNotFoundError: There is none of that id.
            QueueUnavailableError: The server does not answer.
        """
        state = await self.books.cancel(job_id)
        job = await self.books.job(job_id)
        if state == "queued":
            tell(self.plugins, "xagent_job_ended", job)
        return job

    async def requeue(self, job_id: str) -> Job:
        """Gives a dead letter as many attempts as a new job has.

        Raises:
            JobNotFoundError: There is none of that id.
            InvalidRequestError: It is no dead letter.
            QueueUnavailableError: The server does not answer.
        """
        state = await self.books.requeue(job_id, self.retry.attempts)
        job = await self.books.job(job_id)
        if state != "dead":
            raise InvalidRequestError(f"job {job_id}", f"it is {state}, and only dead letters can be requeued")
        await self._send(job, 0.0)
        return job

    async def stats(self) -> QueueStats:
        """How many jobs wait, run and are dead in each named queue, and which workers live.

        Raises:
            QueueUnavailableError: The server does not answer.
        """
        return await self.books.stats()


def _check_values(
    queue: str,
    key: str | None,
    attempts: int | None,
    headers: Mapping[str, str],
    *,
    idempotent: bool,
    delay: float,
    patience: float,
) -> None:
    refuse = functools.partial(check, component="queue", error=InvalidRequestError)
    refuse("queue", queue, str)
    if _NAME.fullmatch(queue) is None:
        raise InvalidRequestError("queue", f"{queue!r} cannot be a queue's name", "Use letters, digits, _ . -")
    if key is not None:
        refuse("key", key, str)
        if not 0 < len(key) <= _LONGEST_KEY:
            raise InvalidRequestError("queue", f"an idempotency key has 1 to {_LONGEST_KEY} characters")
    if attempts is not None:
        refuse("attempts", attempts, int, (1, MOST_ATTEMPTS))
    for name, value in headers.items():
        refuse("a header's name", name, str)
        refuse(f"header {name}", value, str)
    refuse("idempotent", idempotent, bool)
    refuse("delay", delay, float, (0, _LONGEST_DELAY))
    refuse("patience", patience, float, _ANY_TIME)


def _result_of(job: Job) -> ExecutionResult | ToolResult:
    if job.result is not None and job.state == "finished":
        return job.result
    if job.state == "cancelled":
        raise JobCancelledError(f"job {job.id}", "it was cancelled")
    failure = job.failure
    if job.unreadable and job.state == "finished":
        raise QueueError(f"job {job.id}", job.unreadable, "Ask with the version of xagent whose worker ran it.")
    cause = f"{failure.component}: {failure.cause}" if failure else job.unreadable or "its books are damaged"
    again = f"Once that is mended, `xagent jobs requeue {job.id}` runs it again."
    raise JobDeadError(
        f"job {job.id}",
        f"it is a dead letter after attempt {job.attempt} of {job.attempts}: {cause}",
        f"{failure.fix} {again}" if failure and failure.fix else again,
    )
