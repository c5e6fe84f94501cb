"""Keeps the books of all jobs: each call is one transition, and only who holds a job's token may move it on."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from xagent_core.abc.queue import (
    Job,
    JobEvent,
    JobFailure,
    JobState,
    QueueDepth,
    QueueStats,
    ToolCall,
    ToolResult,
    WorkerInfo,
)
from xagent_core.errors import InvalidRequestError, JobNotFoundError
from xagent_core.kinds import CENTURY, check_fields
from xagent_core.queueing import scripts
from xagent_core.queueing.entries import lean, read_event, read_hash, read_job
from xagent_core.queueing.payload import decode, digest, encode
from xagent_core.queueing.store import Store
from xagent_core.types import MIB, ExecutionRequest, ExecutionResult, OutputEvent

__all__ = ["Books", "BooksConfig", "Claim"]

_COUNTERS: Final = ("submitted", "started", "retried", "finished", "dead", "cancelled")
_MOST_AT_ONCE: Final = 200
_LARGEST: Final = 512 * MIB  # what Redis keeps in one string


@dataclass(frozen=True, kw_only=True, slots=True)
class BooksConfig:
    """How long, how often, how much.

    Attributes:
        prefix: Before every key; queues with different prefixes know nothing of each other.
        lease: Seconds without a sign of life after which a worker counts as lost. It renews four times as often.
        resend: Seconds after which a message that no worker has brought back counts as lost.
        keep: Seconds for which ended jobs are remembered, with their events and their idempotency keys.
        keep_dead: The same of dead letters.
        most_request: Bytes of a request's JSON.
        most_result: Bytes of a result's JSON.

    Raises:
        ConfigError: A value is of another kind, or out of bounds.
    """

    prefix: str = "xagent"
    lease: float = 8.0
    resend: float = 30.0
    keep: float = 86_400.0
    keep_dead: float = 30 * 86_400.0
    most_request: int = 16 * MIB
    most_result: int = 16 * MIB

    def __post_init__(self) -> None:
        seconds, size = (1, CENTURY), (1, _LARGEST)
        bounds = {"lease": (0.5, CENTURY), "resend": seconds, "keep": seconds, "keep_dead": seconds}
        check_fields(self, {**bounds, "most_request": size, "most_result": size}, component="queue")


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """A worker's right to run one attempt of a job, for as long as its lease is renewed."""

    job: Job
    token: str


class Books:
    """The books, in a store.

    Every method raises `QueueUnavailableError` when the store does not answer, and `QueueError` when it refuses.

    Args:
        store: Where they are kept.
        config: How long, how often, how much.
    """

    def __init__(self, store: Store, config: BooksConfig) -> None:
        self.store = store
        self.config = config
        self._prefix = f"{config.prefix}:"

    async def submit(
        self,
        job_id: str,
        request: ExecutionRequest | ToolCall,
        *,
        queue: str,
        attempts: int,
        idempotent: bool,
        key: str | None,
        delay: float,
        headers: Mapping[str, str],
    ) -> tuple[Job, bool]:
        """Enters a job.

        Returns:
            The job, and whether it is new: one with the same idempotency key is given back as it is.

        Raises:
            InvalidRequestError: The request is too large, or the key belongs to another request.
            JobNotFoundError: The job that had the key was forgotten at this moment.
        """
        text = encode(request)
        if len(text) > self.config.most_request:
            raise InvalidRequestError(
                "queue",
                f"the request has {len(text)} bytes as JSON, and the queue takes {self.config.most_request}",
                "Send smaller files.",
            )
        mark = digest(text)
        found, other, new, created, ready = await self._run(
            scripts.SUBMIT, job_id, queue, text, mark, int(idempotent), key or "", attempts, f"{delay:.6f}",
            json.dumps(dict(headers)), self.config.resend,
        )  # fmt: skip
        if other.decode() != mark:
            raise InvalidRequestError(
                f"idempotency key {key}", f"job {found.decode()} has it, with another request", "Choose another key."
            )
        if not new:
            return await self.job(found.decode()), False
        job = Job(
            id=job_id, queue=queue, state="queued", request=request, attempts=attempts, idempotent=idempotent, key=key,
            headers=dict(headers), created=float(created), ready=float(ready),
        )  # fmt: skip
        return job, True

    async def claim(self, job_id: str, worker: str, token: str, *, urgent: Sequence[str] = ()) -> Claim | None:
        """Begins an attempt, of a job that waits in a more urgent queue where there is one.

        Returns:
            The claim; None where there is nothing to begin: the message was late, or a duplicate.
        """
        answer = await self._run(scripts.CLAIM, job_id, worker, token, self.config.lease, *urgent)
        return Claim(job=read_job(read_hash(answer)), token=token) if answer else None

    async def append(self, claim: Claim, number: int, outputs: Iterable[OutputEvent]) -> bool:
        """Adds an attempt's output of that number, from 1; False where it does not hold the job any more."""
        documents = [encode(lean(output)) for output in outputs]
        return bool(await self._run(scripts.APPEND, claim.job.id, claim.token, number, *documents))

    async def finish(self, claim: Claim, result: ExecutionResult | ToolResult) -> Job | None:
        """Ends a job with its result; None, here and below, where the attempt does not hold it any more.

        Raises:
            InvalidRequestError: The result is too large for the books.
        """
        text = encode(result)
        if len(text) > self.config.most_result:
            raise InvalidRequestError(
                "queue",
                f"the result has {len(text)} bytes as JSON, and the queue keeps {self.config.most_result}",
                "Collect less, lower limits of output, or raise most_result of the queue.",
            )
        ended = replace(claim.job, state="finished", result=result, failure=None)
        return await self._end(ended, claim.token, result=text)

    async def cancelled(self, claim: Claim) -> Job | None:
        """Ends a job that was cancelled while it ran."""
        return await self._end(replace(claim.job, state="cancelled", failure=None), claim.token)

    async def bury(self, claim: Claim, failure: JobFailure) -> Job | None:
        """Makes a job a dead letter."""
        return await self._end(replace(claim.job, state="dead", failure=failure), claim.token, failure=encode(failure))

    async def retry(self, claim: Claim, failure: JobFailure, *, delay: float) -> Job | None:
        """Puts a job back for another attempt, or ends it where it was cancelled meanwhile."""
        answer = await self._run(
            scripts.RETRY, claim.job.id, claim.token, f"{delay:.6f}", encode(failure), failure.cause,
            self.config.resend, math.ceil(self.config.keep),
        )  # fmt: skip
        return _moved(replace(claim.job, failure=failure), answer)

    async def cancel(self, job_id: str) -> str:
        """Cancels a job that waits, or has its worker told. Returns the state that it was in; empty for none."""
        state: bytes = await self._run(scripts.CANCEL, job_id, math.ceil(self.config.keep))
        return state.decode()

    async def requeue(self, job_id: str, attempts: int) -> str:
        """Gives a dead letter further attempts. Returns the state that it was in; empty for none."""
        state: bytes = await self._run(scripts.REQUEUE, job_id, attempts, self.config.resend)
        return state.decode()

    async def renew(self, worker: WorkerInfo, claims: Iterable[Claim]) -> list[tuple[str, str]]:
        """Shows a sign of life.

        Returns:
            `("lost", id)` of jobs that were given to another meanwhile, `("cancel", id)` of those to be cancelled.
        """
        held = [part for claim in claims for part in (claim.job.id, claim.token)]
        lease = self.config.lease
        answer = await self._run(scripts.RENEW, worker.id, encode(worker), lease, max(lease, 2.0), *held)
        words = [word.decode() for word in answer]
        return list(zip(words[::2], words[1::2], strict=True))

    async def lost(self) -> list[Claim]:
        """The attempts whose worker shows no sign of life."""
        words = [word.decode() for word in await self._run(scripts.SWEEP, self.config.lease / 2, _MOST_AT_ONCE)]
        fields = [await self._fields(job_id) for job_id in words[::2]]
        return [Claim(job=read_job(job), token=token) for job, token in zip(fields, words[1::2], strict=True) if job]

    async def due(self) -> list[tuple[str, str, bool]]:
        """Ids and named queues of jobs whose message is to be sent, and whether one had been sent before."""
        words = [word.decode() for word in await self._run(scripts.DUE, self.config.resend, _MOST_AT_ONCE)]
        return [(job, queue, again == "1") for job, queue, again in zip(*[iter(words)] * 3, strict=True)]

    async def forget_old(self) -> None:
        """Takes ended jobs that have expired out of the lists."""
        for queue in await self.queues():
            await self._run(scripts.EXPIRE, queue, self.config.keep, self.config.keep_dead)

    async def job(self, job_id: str) -> Job:
        """One job.

        Raises:
            JobNotFoundError: There is none of that id.
        """
        if not (fields := await self._fields(job_id)):
            raise JobNotFoundError(f"job {job_id}", "the queue has no such job", "See `xagent jobs list`.")
        return read_job(fields)

    async def jobs(self, states: Sequence[JobState], queue: str | None, limit: int) -> list[Job]:
        """Jobs in these states, the latest first."""
        found: list[tuple[float, str]] = []
        for name in [queue] if queue else await self.queues():
            for state in states:
                key = f"{self._prefix}{state}:{name}"
                latest = await self.store.call("zrange", key, -limit, -1, withscores=True)
                found += [(score, member.decode()) for member, score in latest]
        chosen = [await self._fields(job_id) for _, job_id in sorted(found, reverse=True)[:limit]]
        return [read_job(fields) for fields in chosen if fields]

    async def events(self, job_id: str, after: int, wait: float) -> list[JobEvent]:
        """Events with higher numbers than `after`; where there are none, what comes within `wait` seconds."""
        key = f"{self._prefix}events:{job_id}"
        block = max(1, int(wait * 1000))
        answer = await self.store.call("xread", {key: f"{after}-0"}, count=500, block=block, seconds=wait + 10)
        # RESP2 answers with a list of pairs, RESP3 with a dictionary of lists of lists.
        entries = (_flat(answer.values()) if isinstance(answer, dict) else answer[0][1]) if answer else ()
        return [read_event(number, fields) for number, fields in entries]

    async def orders(self, worker: str, after: str, *, wait: float) -> tuple[str, list[str]]:
        """Ids of jobs that a worker is to cancel, and from where to go on."""
        key = f"{self._prefix}orders:{worker}"
        block = max(1, int(wait * 1000))
        answer = await self.store.call("xread", {key: after}, count=100, block=block, seconds=wait + 10)
        entries = (_flat(answer.values()) if isinstance(answer, dict) else answer[0][1]) if answer else ()
        jobs = [fields[b"cancel"].decode() for _, fields in entries]
        return (entries[-1][0].decode() if entries else after), jobs

    async def queues(self) -> list[str]:
        """The names of all queues that jobs were ever submitted to."""
        return sorted(name.decode() for name in await self.store.call("smembers", f"{self._prefix}queues"))

    async def stats(self) -> QueueStats:
        """How many jobs wait, run and are dead, and which workers live."""
        now = float(await self._run(scripts.CLOCK))
        depths = {}
        for queue in await self.queues():
            key = f"{self._prefix}queued:{queue}"
            waiting = await self.store.call("zcount", key, "-inf", now)
            first = await self.store.call("zrange", key, 0, 0, withscores=True) if waiting else ()
            totals = await self.store.call("hgetall", f"{self._prefix}totals:{queue}")
            depths[queue] = QueueDepth(
                waiting=waiting,
                delayed=max(0, await self.store.call("zcard", key) - waiting),
                running=await self.store.call("zcard", f"{self._prefix}running:{queue}"),
                dead=await self.store.call("zcard", f"{self._prefix}dead:{queue}"),
                oldest_age=max(0.0, now - first[0][1]) if first else 0.0,
                totals={name: int(totals.get(name.encode(), 0)) for name in _COUNTERS},
            )
        members = await self.store.call("zrangebyscore", f"{self._prefix}workers", now, "+inf")
        infos = [await self.store.call("get", f"{self._prefix}worker:{member.decode()}") for member in members]
        workers = [decode(WorkerInfo, info) for info in infos if info]
        return QueueStats(queues=depths, workers=tuple(workers))

    async def forget_worker(self, worker: str) -> None:
        """Strikes a worker that has ended off the list."""
        await self.store.call("zrem", f"{self._prefix}workers", worker)
        await self.store.call("delete", f"{self._prefix}worker:{worker}", f"{self._prefix}orders:{worker}")

    async def _fields(self, job_id: str) -> Mapping[bytes, bytes]:
        fields: Mapping[bytes, bytes] = await self.store.call("hgetall", f"{self._prefix}job:{job_id}")
        return fields

    async def _end(self, job: Job, token: str, *, result: str = "", failure: str = "") -> Job | None:
        keep = math.ceil(self.config.keep_dead if job.state == "dead" else self.config.keep)
        return _moved(job, await self._run(scripts.END, job.id, token, job.state, result, failure, keep))

    async def _run(self, script: str, *arguments: str | float) -> Any:
        return await self.store.run(script, self._prefix, *arguments)


def _flat(streams: Iterable[Any]) -> Any:
    """The entries of the first stream of a RESP3 answer."""
    return next(iter(next(iter(streams), ())), ())


def _moved(job: Job, answer: Sequence[bytes]) -> Job | None:
    """A job as a script has left it: the request, which may be large, does not come back with each answer."""
    if not answer:
        return None
    state: Any = answer[0].decode()
    return replace(job, state=state, ended=float(answer[1] or 0) or None, ready=float(answer[2]))
