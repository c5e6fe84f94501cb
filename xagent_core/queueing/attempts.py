"""What becomes of a job that a worker has claimed: its attempt in the engine, and its end in the books."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Final, Literal

from xagent_core.abc.queue import Job, JobFailure, ToolCall, ToolResult
from xagent_core.engine import Engine
from xagent_core.errors import InvalidRequestError, QueueError, WorkerLostError, XAgentError
from xagent_core.queueing.books import Claim
from xagent_core.queueing.observing import current_job, tell
from xagent_core.queueing.outages import Outages
from xagent_core.queueing.queue import TaskQueue
from xagent_core.queueing.recorder import Recorder
from xagent_core.queueing.retry import failure_of
from xagent_core.queueing.worker_tools import WorkerTools
from xagent_core.types import ExecutionResult, FinishedEvent

__all__ = ["Attempts"]

logger = logging.getLogger(__name__)

_NOT_AGAIN: Final = "It is not run again by itself, since its code may have run and it was not submitted as idempotent."
_OTHER_VERSION: Final = "Another version of xagent has written it: run workers of that version, or submit it again."

Stop = Literal["cancel", "lost", "stop"]


@dataclass(slots=True)
class _Running:
    claim: Claim
    task: asyncio.Task[None]
    why: Stop | None = None
    begun: bool = False
    """Whether the task has taken its first step; one that is cancelled before takes none."""
    over: bool = False
    """Whether its program has ended, and only the books are to be told."""

    def stop(self, why: Stop) -> None:
        """Ends the attempt; the first reason counts, and none when it is over by itself."""
        if self.why is None and not self.over:
            self.why = why
            if self.begun:
                self.task.cancel()


class Attempts:
    """Runs claimed jobs in an engine, and tells the books and the observers what became of each.

    Args:
        queue: Whose books hold the claims.
        engine: What runs programs.
        tools: What calls tools.
        worker: The worker's name.
        outages: Waits for the books while they are away.
        hurried: Says when they are not to be waited for any more.
    """

    def __init__(
        self,
        queue: TaskQueue,
        engine: Engine,
        tools: WorkerTools,
        *,
        worker: str,
        outages: Outages,
        hurried: Callable[[], bool],
    ) -> None:
        self._queue = queue
        self._engine = engine
        self._tools = tools
        self._worker = worker
        self._outages = outages
        self._hurried = hurried
        self._running: dict[str, _Running] = {}

    @property
    def claims(self) -> list[Claim]:
        """Those of the attempts that run now."""
        return [running.claim for running in self._running.values()]

    def stop(self, job_id: str, why: Stop) -> None:
        """Ends the attempt of a job, if one runs here."""
        if running := self._running.get(job_id):
            running.stop(why)

    def stop_all(self) -> None:
        """Ends what runs now; it is tried again elsewhere if it may be."""
        for running in list(self._running.values()):
            running.stop("stop")

    async def attend(self, claim: Claim, *, stopped: bool = False) -> None:
        """Runs an attempt in a task of its own, which is stopped by name, or has been while it was claimed."""
        task = asyncio.create_task(self._attempt(claim))
        running = self._running[claim.job.id] = _Running(claim, task)
        if stopped:
            running.stop("stop")
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            running.stop("stop")
            await asyncio.wait([task])
            raise
        finally:
            del self._running[claim.job.id]
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("job %s", claim.job.id, exc_info=error)

    async def give_up(self, claim: Claim) -> None:
        """Sees to the job of an attempt whose worker is lost."""
        logger.warning("job %s: worker %s is lost", claim.job.id, claim.job.worker)
        failure = _lost(f"worker {claim.job.worker}", "it was lost in the middle of the job")
        if unreadable := claim.job.unreadable:
            failure = replace(failure, cause=f"{failure.cause}, and {unreadable}", fix=_OTHER_VERSION)
        job = await self._settled(claim, failure, again=not unreadable)
        if job is not None:  # else another has seen to it
            self._tell(job)

    async def _attempt(self, claim: Claim) -> None:
        job, running = claim.job, self._running[claim.job.id]
        current_job.set(job)
        books = self._queue.books
        tell(self._queue.plugins, "xagent_job_started", job, worker=self._worker)
        running.begun = True
        try:
            if running.why is not None:
                raise asyncio.CancelledError
            result = await self._execute(running)
            ended = await self._entered(lambda: books.finish(claim, result))
        except asyncio.CancelledError:
            running.over = True
            if running.why == "lost":
                ended = None
            elif running.why == "cancel":
                ended = await self._entered(lambda: books.cancelled(claim))
            else:
                failure = _lost(f"worker {self._worker}", "it was stopped before the job ended")
                ended = await self._settled(claim, failure, again=True)
        # Whatever an engine or a plugin does, the job must come to an end in the books, and the worker must live.
        except Exception as error:
            running.over = True
            if not isinstance(error, XAgentError):
                logger.exception("job %s", job.id)
            failure, again = failure_of(error)
            ended = await self._settled(claim, failure, again=again)
        if ended is None:
            logger.warning("job %s is not ended here: another worker has it, or will", job.id)
        else:
            self._tell(ended)

    async def _execute(self, running: _Running) -> ExecutionResult | ToolResult:
        job, request = running.claim.job, running.claim.job.request
        if request is None or job.unreadable:
            raise InvalidRequestError(f"job {job.id}", job.unreadable, _OTHER_VERSION)
        recorder = Recorder(self._queue.books, running.claim, self._outages, hurried=self._hurried)
        if isinstance(request, ToolCall):
            tool = await self._tools.find(request.name)
            async with recorder.writing():
                outcome = await tool(request.arguments, recorder.put)
                running.over = True
            return outcome
        async with recorder.writing(), contextlib.aclosing(self._engine.stream(request)) as events:
            async for event in events:
                if isinstance(event, FinishedEvent):
                    result, running.over = event.result, True
                else:
                    await recorder.put(event)
        return result

    async def _entered(self, call: Callable[[], Awaitable[Job | None]]) -> Job | None:
        """Has the books take what became of an attempt, for as long as it takes, unless this worker must end."""
        try:
            return await self._outages.insist(call, unless=self._hurried)
        except QueueError as error:
            logger.warning("worker %s ends without the books, in which its job will be lost: %s", self._worker, error)
            return None

    async def _settled(self, claim: Claim, failure: JobFailure, *, again: bool) -> Job | None:
        """Has a job tried again where that is safe and allowed, and makes it a dead letter otherwise."""
        books, job = self._queue.books, claim.job
        safe = failure.code_ran == "no" or job.idempotent
        if again and safe and job.attempt < job.attempts:
            delay = self._queue.retry.delay(job.attempt)
            return await self._entered(lambda: books.retry(claim, failure, delay=delay))
        told = failure if safe or not again else _with_fix(failure, _NOT_AGAIN)
        return await self._entered(lambda: books.bury(claim, told))

    def _tell(self, job: Job) -> None:
        """Tells the observers what the books now say of a job."""
        tell(self._queue.plugins, "xagent_job_ended" if job.over else "xagent_job_retried", job)


def _lost(component: str, cause: str) -> JobFailure:
    return JobFailure(type=WorkerLostError.__name__, component=component, cause=cause)


def _with_fix(failure: JobFailure, fix: str) -> JobFailure:
    return JobFailure(
        type=failure.type,
        component=failure.component,
        cause=failure.cause,
        fix=f"{failure.fix} {fix}".strip(),
        code_ran=failure.code_ran,
    )
