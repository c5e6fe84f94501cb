"""Celery on RabbitMQ: messages go there, the books stay in Redis.

It is skipped where RabbitMQ is not installed, and fails where `XAGENT_REQUIRE_ENGINES` lists `rabbitmq-server`.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from xagent_core.testing.ports import ReservedPort
from xagent_core.testing.pytest_plugin import give_up
from xagent_core.testing.queues.rig import Rig
from xagent_core.testing.queues.worker import program
from xagent_core.testing.redis import RedisServer

PROGRAM = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")

pytestmark = pytest.mark.slow


@pytest.fixture
def rabbitmq(tmp_path: Path) -> Iterator[str]:
    if not PROGRAM.exists() or shutil.which("epmd") is None:
        give_up("rabbitmq-server", "it is not installed")
    if os.geteuid() != 0:
        give_up("rabbitmq-server", "only root may start it")
    reserved = [ReservedPort() for _ in range(3)]
    port, names, nodes = [port.number for port in reserved]
    (tmp_path / "rabbitmq.conf").write_text(f"listeners.tcp.local = 127.0.0.1:{port}\n")
    env = os.environ | {
        "HOME": str(tmp_path),
        "ERL_EPMD_PORT": str(names),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "RABBITMQ_CONFIG_FILE": str(tmp_path / "rabbitmq"),
        "RABBITMQ_DIST_PORT": str(nodes),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(tmp_path / "plugins"),
        "RABBITMQ_LOG_BASE": str(tmp_path / "log"),
        "RABBITMQ_MNESIA_BASE": str(tmp_path / "mnesia"),
        "RABBITMQ_NODENAME": f"xagent{port}@localhost",
        "RABBITMQ_PID_FILE": str(tmp_path / "pid"),
    }
    # In the foreground, so that it can be ended as what it is: our own process.
    epmd = subprocess.Popen(["epmd", "-port", str(names), "-address", "127.0.0.1"], env=env)
    with (tmp_path / "out").open("wb") as out:
        server = subprocess.Popen([PROGRAM], env=env, stdout=out, stderr=out, start_new_session=True)
    try:
        deadline = time.monotonic() + 120
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert server.poll() is None, (tmp_path / "out").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.2)
        yield f"amqp://guest:guest@127.0.0.1:{port}//"
    finally:
        if (tmp_path / "pid").exists():
            os.kill(int((tmp_path / "pid").read_text()), 15)
        server.wait(60)
        epmd.terminate()
        epmd.wait(10)


async def test_jobs_go_by_rabbitmq(rabbitmq: str, redis: RedisServer) -> None:
    async with Rig.made("celery", {"url": rabbitmq, "store": redis.url(), "lease": 2.0}) as rig:
        assert await rig.queue.carrier.waiting("default") == 0
        job = await rig.submit(program(pieces=["hello"]))
        assert await rig.queue.carrier.waiting("default") == 1
        async with rig.worker():
            assert (await rig.queue.result(job.id, timeout=60)).output == "hello"
            again = await rig.ended((await rig.submit(program(fails="no", times=1))).id)
            assert (again.state, again.attempt) == ("finished", 2)
        async with rig.process() as doomed:
            job = await rig.submit(program(hangs=True, times=1), idempotent=True)
            await rig.until(job.id, lambda job: job.state == "running")
            doomed.kill()
        async with rig.worker():
            job = await rig.ended(job.id)
        assert (job.state, job.attempt) == ("finished", 2)
