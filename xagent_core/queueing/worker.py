"""A worker: takes jobs from a queue, runs them in an engine, and keeps the books in step."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import logging
import os
import secrets
import socket
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, Self

from xagent_core.abc.queue import Job, JobFailure, ToolCall, ToolResult, WorkerInfo
from xagent_core.bridge import in_thread
from xagent_core.engine import Engine
from xagent_core.errors import ConfigError, QueueError, WorkerLostError, XAgentError
from xagent_core.queueing.books import Claim
from xagent_core.queueing.observing import tell
from xagent_core.queueing.outages import Outages
from xagent_core.queueing.queue import TaskQueue
from xagent_core.queueing.recorder import Recorder
from xagent_core.queueing.retry import failure_of
from xagent_core.queueing.slots import Slots
from xagent_core.toolbox import get_tools
from xagent_core.types import ExecutionResult, FinishedEvent, OutputEvent
from xagent_core.workspace import Workspace

__all__ = ["Worker", "current_job"]

logger = logging.getLogger(__name__)

current_job: contextvars.ContextVar[Job | None] = contextvars.ContextVar("xagent_current_job", default=None)
"""The job that the current task runs, for observers of executions and for logs."""

_DUE_SECONDS: Final = 0.25
_AWAY_SECONDS: Final = 1.0
_NOT_AGAIN: Final = "It is not run again by itself, since its code may have run and it was not submitted as idempotent."

Stop = Literal["cancel", "lost", "stop"]
Tool = Callable[[Mapping[str, Any], Callable[[OutputEvent], Awaitable[None]]], Awaitable[ToolResult]]
"""Takes a tool's arguments, and what is told of output as it comes."""


@dataclass(slots=True)
class _Running:
    claim: Claim
    task: asyncio.Task[None]
    why: Stop | None = None
    over: bool = False
    """Whether its program has ended, and only the books are to be told."""

    def stop(self, why: Stop) -> None:
        """Ends the attempt; the first reason counts, and none when it is over by itself."""
        if self.why is None and not self.over:
            self.why = why
            self.task.cancel()


class Worker:
    """Runs a queue's jobs, so many at once.

    Either as an async context manager beside other work, or with `run` until `drain` is called.

    Args:
        queue: Where the jobs come from; it is open.
        engine: What runs them; it is open.
        slots: Jobs at once.
        queues: The named queues that it serves, the most urgent first.
        name: Names it in the books; by default by host and process.
        workspace: The folder that all tool calls here share; without one, tools that need files are refused.

    Raises:
        ConfigError: There is no slot, or no queue.
        InvalidRequestError: The folder cannot be used.
    """

    def __init__(
        self,
        queue: TaskQueue,
        engine: Engine,
        *,
        slots: int = 4,
        queues: Sequence[str] = ("default",),
        name: str | None = None,
        workspace: str | Path | Workspace | None = None,
    ) -> None:
        if slots < 1 or not queues:
            raise ConfigError("worker", "it needs at least one slot, and one named queue")
        self.queue = queue
        self.engine = engine
        self.name = name or f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
        self._workspace = Workspace(workspace) if isinstance(workspace, str | Path) else workspace
        self._tools: dict[str, Tool] = {}
        self._shared: dict[Any, Any] = {}
        self._making_tools = asyncio.Lock()
        self._queues = tuple(dict.fromkeys(queues))
        self._slots = Slots(slots)
        self._running: dict[str, _Running] = {}
        self._started = time.time()
        self._draining = asyncio.Event()
        self._stopping = False
        self._outages = Outages(f"worker {self.name}")
        self._delivering: asyncio.Task[None] | None = None
        self._keeping: list[asyncio.Task[None]] = []
        self.last_sign: float | None = None
        """When the books last took a sign of life, by the monotonic clock; None before the first."""

    @property
    def info(self) -> WorkerInfo:
        """The worker as others see it."""
        return WorkerInfo(
            id=self.name,
            host=socket.gethostname(),
            pid=os.getpid(),
            queues=self._queues,
            slots=self._slots.number,
            busy=len(self._running),
            backend=self.engine.backend.name,
            draining=self._draining.is_set(),
            started=self._started,
        )

    async def __aenter__(self) -> Self:
        """Begins to take jobs. A server that is away is waited for."""
        carrier, slots = self.queue.carrier, self._slots.number
        self._delivering = asyncio.create_task(carrier.deliver(self._deliver, queues=self._queues, slots=slots))
        self._delivering.add_done_callback(self._delivered)
        steps = (self._renew, self._listen(), self._send_due, self._sweep)
        self._keeping = [asyncio.create_task(self._keep(step)) for step in steps]
        self.queue.plugins.observe("xagent_worker_started", worker=self.info)
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.drain()

    def _delivered(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("worker %s takes no more jobs: its carrier has failed", self.name, exc_info=error)

    async def run(self) -> None:
        """Works until `drain` was called elsewhere and all is done.

        Raises:
            Exception: The carrier failed for good.
        """
        async with self:
            if self._delivering is not None:
                draining = asyncio.create_task(self._draining.wait())
                try:
                    await asyncio.wait([self._delivering, draining], return_when=asyncio.FIRST_COMPLETED)
                finally:
                    draining.cancel()

    async def drain(self, seconds: float | None = None) -> None:
        """Takes no further jobs, lets those that run end, and closes. May be called again.

        Args:
            seconds: How long they may take; what still runs then is stopped, and tried again elsewhere if it may be.
        """
        self._draining.set()
        delivering, self._delivering = self._delivering, None
        if delivering is None:
            return
        delivering.cancel()
        _, late = await asyncio.wait([delivering], timeout=seconds)
        if late:
            self.stop()
            await asyncio.wait([delivering])
        for task in self._keeping:
            task.cancel()
        await asyncio.wait(self._keeping)
        info = self.info
        with contextlib.suppress(QueueError):  # the server is away: the entry expires
            await self.queue.books.forget_worker(self.name)
        self.queue.plugins.observe("xagent_worker_stopped", worker=info)
        if not delivering.cancelled() and (error := delivering.exception()) is not None:
            raise error

    def stop(self) -> None:
        """Stops the jobs that run now, and waits no more for a server that is away."""
        self._stopping = True
        for running in list(self._running.values()):
            running.stop("stop")

    def _hurried(self) -> bool:
        """Whether a server that is away is not worth waiting for any more.

        That is when this worker is stopped; or it drains, and has shown no sign of life for so long that others will
        be given its jobs as soon as the server is back.
        """
        away = time.monotonic() - (self.last_sign or 0.0)
        return self._stopping or (self._draining.is_set() and away > 2 * self.queue.config.lease)

    async def _deliver(self, job_id: str, queue: str) -> None:
        """Runs the job of a message, unless the message is late."""
        urgency = self._queues.index(queue) if queue in self._queues else len(self._queues)
        async with self._slots.taken(urgency):
            if self._draining.is_set():
                await self._pass_on(job_id, queue)
                return
            claim = await self._claimed(job_id, self._queues[:urgency])
            if claim is None:
                return
            if claim.job.id == job_id:
                await self._attend(claim)
            else:
                await asyncio.gather(self._attend(claim), self._pass_on(job_id, queue))

    async def _pass_on(self, job_id: str, queue: str) -> None:
        with contextlib.suppress(QueueError):  # the outbox will send it
            await self.queue.carrier.send(job_id, queue)

    async def _claimed(self, job_id: str, urgent: Sequence[str]) -> Claim | None:
        """Begins an attempt. Where no answer came it asks again, since the job may be this attempt's already."""
        token = secrets.token_hex(8)
        try:
            return await self._outages.insist(
                lambda: self.queue.books.claim(job_id, self.name, token, urgent=urgent), unless=self._draining.is_set
            )
        except QueueError:
            return None  # another worker will be given it

    async def _attend(self, claim: Claim) -> None:
        """Runs an attempt in a task of its own, which is stopped by name."""
        task = asyncio.create_task(self._attempt(claim))
        running = self._running[claim.job.id] = _Running(claim, task)
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

    async def _attempt(self, claim: Claim) -> None:
        job, running = claim.job, self._running[claim.job.id]
        current_job.set(job)
        books = self.queue.books
        tell(self.queue.plugins, "xagent_job_started", job, worker=self.name)
        try:
            result = await self._execute(running)
            ended = await self._entered(lambda: books.finish(claim, result))
        except asyncio.CancelledError:
            running.over = True
            if running.why == "lost":
                ended = None
            elif running.why == "cancel":
                ended = await self._entered(lambda: books.cancelled(claim))
            else:
                failure = _lost(f"worker {self.name}", "it was stopped before the job ended")
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
        request = running.claim.job.request
        recorder = Recorder(self.queue.books, running.claim, self._outages, hurried=self._hurried)
        if isinstance(request, ToolCall):
            tool = await self._tool(request.name)
            async with recorder.writing():
                outcome = await tool(request.arguments, recorder.put)
                running.over = True
            return outcome
        async with recorder.writing(), contextlib.aclosing(self.engine.stream(request)) as events:
            async for event in events:
                if isinstance(event, FinishedEvent):
                    result, running.over = event.result, True
                else:
                    await recorder.put(event)
        return result

    async def _tool(self, name: str) -> Tool:
        """Makes calls of a tool, which is made for the first of them and shares what all tools of this worker do."""
        async with self._making_tools:
            if name not in self._tools:
                made = await in_thread(_make_tool, self.engine, self._workspace, name, self._shared)
                self._tools[name] = made
        return self._tools[name]

    async def _entered(self, call: Callable[[], Awaitable[Job | None]]) -> Job | None:
        """Has the books take what became of an attempt, for as long as it takes, unless this worker must end."""
        try:
            return await self._outages.insist(call, unless=self._hurried)
        except QueueError as error:
            logger.warning("worker %s ends without the books, in which its job will be lost: %s", self.name, error)
            return None

    async def _settled(self, claim: Claim, failure: JobFailure, *, again: bool) -> Job | None:
        """Has a job tried again where that is safe and allowed, and makes it a dead letter otherwise."""
        books, job = self.queue.books, claim.job
        safe = failure.code_ran == "no" or job.idempotent
        if again and safe and job.attempt < job.attempts:
            delay = self.queue.retry.delay(job.attempt)
            return await self._entered(lambda: books.retry(claim, failure, delay=delay))
        told = failure if safe or not again else _with_fix(failure, _NOT_AGAIN)
        return await self._entered(lambda: books.bury(claim, told))

    def _tell(self, job: Job) -> None:
        """Tells the observers what the books now say of a job."""
        tell(self.queue.plugins, "xagent_job_ended" if job.over else "xagent_job_retried", job)

    async def _keep(self, step: Callable[[], Awaitable[float]]) -> None:
        """Repeats a step; it says how many seconds to wait before the next."""
        while True:
            try:
                pause = await step()
                self._outages.worked(step)
            except QueueError as error:
                self._outages.failed(step, error)
                pause = _AWAY_SECONDS
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                # A client may turn a cancellation into an error of its connection.
                raise asyncio.CancelledError
            await asyncio.sleep(pause)

    async def _renew(self) -> float:
        held = [running.claim for running in self._running.values()]
        for why, job_id in await self.queue.books.renew(self.info, held):
            if running := self._running.get(job_id):
                running.stop("cancel" if why == "cancel" else "lost")
        self.last_sign = time.monotonic()
        return self.queue.config.lease / 4

    def _listen(self) -> Callable[[], Awaitable[float]]:
        place = "0-0"

        async def listen() -> float:
            nonlocal place
            place, jobs = await self.queue.books.orders(self.name, place, wait=2.0)
            for job_id in jobs:
                if running := self._running.get(job_id):
                    running.stop("cancel")
            return 0.0

        return listen

    async def _send_due(self) -> float:
        for job_id, queue, again in await self.queue.books.due():
            # A job may wait for long behind others. Only when no message is left can its own have been lost.
            if not again or not await self.queue.carrier.waiting(queue):
                # The books have noted it as sent.
                send = functools.partial(self.queue.carrier.send, job_id, queue)
                await self._outages.insist(send, unless=self._draining.is_set)
        return _DUE_SECONDS

    async def _sweep(self) -> float:
        for claim in await self.queue.books.lost():
            logger.warning("job %s: worker %s is lost", claim.job.id, claim.job.worker)
            failure = _lost(f"worker {claim.job.worker}", "it was lost in the middle of the job")
            if (job := await self._settled(claim, failure, again=True)) is not None:  # else another has seen to it
                self._tell(job)
        await self.queue.books.forget_old()
        return self.queue.config.lease / 8


def _make_tool(engine: Engine, workspace: Workspace | None, name: str, shared: dict[Any, Any]) -> Tool:
    (tool,) = get_tools(engine, workspace=workspace, names=[name], shared=shared)
    from xagent_core.queueing.tools import invoke  # langchain-core takes a second, and many workers never need it

    return functools.partial(invoke, tool)


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
