"""A durable Redis that tests stop and kill, and workers that are real processes."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager

import pytest

from xagent_core import TaskQueue, get_queue
from xagent_core.testing.redis import RedisServer


@pytest.fixture
def redis(tmp_path: os.PathLike[str]) -> Iterator[RedisServer]:
    from pathlib import Path

    server = RedisServer(Path(tmp_path), durable=True)
    server.start()
    yield server
    server.kill()


class Workers:
    """Starts `xagent worker` with real sandboxes, as an operator does."""

    def __init__(self, redis: RedisServer) -> None:
        self._env = os.environ | {"XAGENT_QUEUE_URL": redis.url(), "XAGENT_QUEUE": "docket"}
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self, *options: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "xagent_core.cli", "worker", "--backend", "bubblewrap", *options]
        process = subprocess.Popen(command, env=self._env, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._processes.append(process)
        return process

    def end(self) -> None:
        for process in self._processes:
            if process.poll() is None:
                process.terminate()
        for process in self._processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(20)
            process.kill()
            process.wait()


@pytest.fixture
def workers(redis: RedisServer) -> Iterator[Workers]:
    started = Workers(redis)
    yield started
    started.end()


@pytest.fixture
def open_queue(redis: RedisServer) -> Callable[..., AbstractAsyncContextManager[TaskQueue]]:
    @contextlib.asynccontextmanager
    async def make(**options: object) -> AsyncIterator[TaskQueue]:
        async with get_queue("docket", url=redis.url(), **options) as queue:
            yield queue

    return make
