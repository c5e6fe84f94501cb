"""What the tests of a queue are made with: queues that know nothing of each other, workers here and elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from xagent_core.abc.queue import Job, JobEvent, WorkerInfo
from xagent_core.queueing.queue import TaskQueue
from xagent_core.queueing.selection import get_queue
from xagent_core.queueing.worker import Worker
from xagent_core.testing.fakes import FakeBackend
from xagent_core.testing.queues.worker import LANGUAGE, fake_engine, program

__all__ = ["Rig"]

_SECONDS: Final = 60.0


class Rig:
    """A queue, and what runs its jobs.

    Args:
        queue: The queue, which is open.
        name: Its registered name.
        options: What made it.
    """

    def __init__(self, queue: TaskQueue, name: str, options: dict[str, Any]) -> None:
        self.queue = queue
        self._name = name
        self._options = options

    @classmethod
    @contextlib.asynccontextmanager
    async def made(cls, name: str, options: dict[str, Any]) -> AsyncIterator[Rig]:
        """A queue that no other test sees."""
        own = {"prefix": f"test-{secrets.token_hex(4)}", "retry": {"base": 0.2}, **options}
        async with get_queue(name, **own) as queue:
            yield cls(queue, name, own)

    async def submit(self, told: str | None = None, **options: Any) -> Job:
        """Submits a program of `program`."""
        return await self.queue.submit(told or program(), language=LANGUAGE, **options)

    @contextlib.asynccontextmanager
    async def worker(
        self, *, slots: int = 2, queues: Sequence[str] = ("default",), workspace: Path | None = None
    ) -> AsyncIterator[FakeBackend]:
        """A worker in this process."""
        engine, backend = fake_engine()
        async with engine, Worker(self.queue, engine, slots=slots, queues=queues, workspace=workspace):
            yield backend

    @contextlib.asynccontextmanager
    async def process(
        self, *, slots: int = 2, queues: Sequence[str] = ("default",)
    ) -> AsyncIterator[asyncio.subprocess.Process]:
        """A worker in a process of its own, which is killed at the end; skips where it would not see the queue."""
        if not self.queue.carrier.shared:
            pytest.skip("shared is not claimed: other processes do not see the queue")
        given = {"name": self._name, "options": self._options, "slots": slots, "queues": list(queues)}
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "xagent_core.testing.queues.process", json.dumps(given),
            stdout=asyncio.subprocess.PIPE, stdin=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        try:
            async with asyncio.timeout(_SECONDS):
                if process.stdout is None or await process.stdout.readline() != b"ready\n":
                    raise RuntimeError("the worker's process did not start: see its stderr")
            yield process
        finally:
            if process.returncode is None:
                process.kill()
            await process.communicate()

    async def until(self, job_id: str, wanted: Callable[[Job], bool]) -> Job:
        """Waits until a job is as wanted."""
        async with asyncio.timeout(_SECONDS):
            while not wanted(job := await self.queue.job(job_id)):  # noqa: ASYNC110 - another process's doing
                await asyncio.sleep(0.02)
            return job

    async def attempts(self, number: int) -> list[asyncio.Task[Any]]:
        """Waits until so many jobs run in this process: the books know of a job before it has a task."""
        async with asyncio.timeout(_SECONDS):
            while len(found := _attempts()) < number:  # noqa: ASYNC110 - the worker's doing
                await asyncio.sleep(0.01)
            return found

    async def workers(self, wanted: Callable[[Sequence[WorkerInfo]], bool] = bool) -> Sequence[WorkerInfo]:
        """Waits until the books know workers as wanted: one may begin a job before its first sign of life is there."""
        async with asyncio.timeout(_SECONDS):
            while not wanted(workers := (await self.queue.stats()).workers):  # noqa: ASYNC110 - their own doing
                await asyncio.sleep(0.02)
            return workers

    async def ended(self, job_id: str) -> Job:
        """Waits for a job's end, whatever it is."""
        async with asyncio.timeout(_SECONDS):
            async for _ in self.queue.events(job_id):
                pass
        return await self.queue.job(job_id)

    async def cancel_running(self, job_id: str, backend: FakeBackend) -> None:
        """Cancels a job once it has written something, and sees that its sandbox is gone; no other runs."""
        async for event in self.queue.events(job_id):
            if event.output is not None:
                break
        (running,) = [sandbox for sandbox in backend.alive if sandbox._running]  # noqa: SLF001 - it is ours
        await self.queue.cancel(job_id)
        assert (await self.ended(job_id)).state == "cancelled"
        async with asyncio.timeout(_SECONDS):
            while running in backend.alive:  # noqa: ASYNC110 - the fake tells nobody
                await asyncio.sleep(0.01)

    async def rewrite(self, job_id: str, field: str, old: str, new: str) -> None:
        """Changes a field of a job in the books, as another version of xagent would have written it."""
        store, key = self.queue.books.store, f"{self.queue.config.prefix}:job:{job_id}"
        text: bytes = await store.call("hget", key, field)
        if (changed := text.decode().replace(old, new)) == text.decode():
            raise ValueError(f"{field} has no {old}: {text!r}")
        await store.call("hset", key, field, changed)

    async def history(self, job_id: str) -> list[JobEvent]:
        """All events of a job so far."""
        return [event async for event in self.queue.events(job_id, follow=False)]


def _attempts() -> list[asyncio.Task[Any]]:
    return [task for task in asyncio.all_tasks() if "_attempt" in repr(task.get_coro())]
