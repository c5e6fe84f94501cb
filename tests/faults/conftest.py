"""A durable Redis that tests stop and kill, and workers that are real processes."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from xagent_core import TaskQueue, get_queue
from xagent_core.queueing.books import BooksConfig
from xagent_core.testing.redis import RedisServer

pytest.register_assert_rewrite("tests.faults.engine_service")


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path, durable=True)
    server.start()
    yield server
    server.kill()


QUEUES = [
    pytest.param(name, marks=pytest.mark.xdist_group(f"faults of {name}"), id=name) for name in ("docket", "celery")
]


@pytest.fixture(params=QUEUES)
def carried(request: pytest.FixtureRequest) -> str:
    """The queue by whose carrier the test's jobs go."""
    name: str = request.param
    return name


class Workers:
    """Starts `xagent worker` with real sandboxes, as an operator does.

    Args:
        queue: The queue's name.
        redis: Its server.
        lease: The books' option.
        folder: Where their log goes.
    """

    def __init__(self, queue: str, redis: RedisServer, lease: float, folder: Path) -> None:
        config = folder / "config.toml"
        config.write_text(f"[queues.{queue}]\nlease = {lease}\n")
        self._env = os.environ | {
            "XAGENT_QUEUE_URL": redis.url(), "XAGENT_QUEUE": queue, "XAGENT_CONFIG": str(config)
        }  # fmt: skip
        self._processes: list[subprocess.Popen[bytes]] = []
        self.log = folder / "log"

    def start(self, *options: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "xagent_core.cli", "worker", "--backend", "bubblewrap", *options]
        with self.log.open("ab") as log:
            process = subprocess.Popen(command, env=self._env, stdin=subprocess.DEVNULL, stderr=log)
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
def lease() -> float:
    """Seconds without a sign of life after which a worker is lost; tests of nothing but its end take less."""
    return BooksConfig().lease


@pytest.fixture
def workers(carried: str, redis: RedisServer, lease: float, tmp_path: Path) -> Iterator[Workers]:
    started = Workers(carried, redis, lease, tmp_path)
    yield started
    started.end()


@pytest.fixture
async def queue(carried: str, redis: RedisServer, lease: float) -> AsyncIterator[TaskQueue]:
    async with get_queue(carried, url=redis.url(), lease=lease) as queue:
        yield queue
