"""Nothing outlives its owner: cancelled starts, killed owners, and what the reaper may and may not take."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest
from docker.api import APIClient
from xagent_docker.backend import DockerBackend

from xagent_core import Engine
from xagent_core.owner import Owner
from xagent_core.testing.backends.common import answers
from xagent_core.types import ExecutionRequest

pytestmark = pytest.mark.engine("docker")

OWNER = """
import asyncio, dataclasses, sys
from xagent_core.abc.backend import SandboxSpec
from xagent_core.abc.language import Packages
from xagent_core.guest.script import BASE_ENV, guest_command
from xagent_docker.backend import DockerBackend

async def main():
    backend = DockerBackend()
    sandbox = await backend.start(SandboxSpec(
        command=guest_command(), language="none", image=sys.argv[1], executables=(), packages=Packages(),
        env=BASE_ENV, memory=2**27, cpus=1, processes=64, scratch=2**20, scratch_exec=False))
    if sys.argv[2] == "busy":
        await sandbox.send(b"while :; do sleep 60; done &\\n")
    print(sandbox.id, flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


@pytest.fixture
def owner_process(image: str) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    """Starts another process that owns one sandbox; its first line of output is the sandbox's id."""
    processes = []

    def start(state: str) -> subprocess.Popen[str]:
        process = subprocess.Popen([sys.executable, "-c", OWNER, image, state], stdout=subprocess.PIPE, text=True)
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def exists(client: APIClient, container: str) -> bool:
    return bool(client.containers(all=True, quiet=True, filters={"id": container}))


async def gone(client: APIClient, container: str, *, within: float) -> bool:
    end = time.monotonic() + within
    while exists(client, container):
        if time.monotonic() > end:
            return False
        await asyncio.sleep(0.05)
    return True


def leave(client: APIClient, image: str, **labels: str) -> str:
    """A container as a crash between creation and start leaves it."""
    return str(client.create_container(image, "sh", labels={"xagent-sandbox": "true", **labels})["Id"])


@pytest.mark.parametrize("state", ["ready", "busy"])
async def test_a_sandbox_ends_when_its_owner_is_killed(
    state: str, owner_process: Callable[[str], subprocess.Popen[str]], client: APIClient
) -> None:
    process = owner_process(state)
    assert process.stdout is not None
    container = process.stdout.readline().strip()
    assert exists(client, container)

    process.send_signal(signal.SIGKILL)
    process.wait()

    assert await gone(client, container, within=30)


async def test_a_start_that_is_cancelled_twice_is_undone_before_the_backend_is_closed(
    engine: Engine, left: Callable[[], list[str]]
) -> None:
    spec = engine.plan(ExecutionRequest(code="", language="test-standby")).spec
    start = asyncio.ensure_future(engine.backend.start(spec))
    for _ in range(2):
        await asyncio.sleep(0.02)
        start.cancel()
    with pytest.raises(asyncio.CancelledError):
        await start

    await engine.aclose()

    assert left() == []


async def test_a_killed_sandbox_is_gone_and_has_ended_by_the_kill(engine: Engine, client: APIClient) -> None:
    sandbox = await engine.backend.start(engine.plan(ExecutionRequest(code="", language="test-sh")).spec)
    assert await answers(sandbox)

    await asyncio.gather(sandbox.kill(), sandbox.kill())
    await sandbox.kill()

    assert not exists(client, sandbox.id)
    assert (await sandbox.wait()).exit_code == 137


async def test_a_sandbox_that_nobody_reads_is_killed_as_fast(engine: Engine) -> None:
    spec, took = engine.plan(ExecutionRequest(code="", language="test-sh")).spec, []
    # Docker waits 2 s for streams that do not drain; on a busy machine a kill may take as long for other reasons.
    while not took or (min(took) > 1.5 and len(took) < 5):
        sandbox = await engine.backend.start(spec)
        await sandbox.send(b"while :; do echo flood; done >&4 &\n")
        await asyncio.sleep(1)
        started = time.monotonic()
        await sandbox.kill()
        took.append(time.monotonic() - started)

    assert min(took) < 1.5


async def test_the_reaper_takes_what_dead_owners_left(image: str, client: APIClient) -> None:
    dead = await asyncio.create_subprocess_exec("true")
    await dead.wait()
    me = Owner.current()
    container = leave(client, image, **{"xagent-owner": str(Owner(me.boot, me.namespace, dead.pid, 1))})
    backend = DockerBackend()

    removed = await backend.reap()

    await backend.aclose()
    # Engines of other tests reap too, and may have been faster, or be at it.
    assert await gone(client, container, within=30)
    line = f"docker container {container[:12]}: its owner, process {dead.pid}, is dead"
    assert [entry for entry in removed if container[:12] in entry] in ([line], [])


async def test_the_reaper_leaves_the_sandboxes_of_living_owners(
    image: str, owner_process: Callable[[str], subprocess.Popen[str]], client: APIClient
) -> None:
    process = owner_process("ready")
    assert process.stdout is not None
    container = process.stdout.readline().strip()
    own = leave(client, image, **{"xagent-owner": str(Owner.current()), "xagent-deadline": "1"})
    backend = DockerBackend()

    await backend.reap()

    await backend.aclose()
    assert exists(client, container)
    assert exists(client, own), "the own process lives too, whatever the deadline says"
    client.remove_container(own)


@pytest.mark.parametrize(("deadline", "stays"), [(-60, False), (60, True)])
async def test_the_reaper_judges_owners_elsewhere_by_their_deadline(
    deadline: int, stays: bool, image: str, client: APIClient
) -> None:
    labels = {"xagent-owner": "another-boot:1:1:1", "xagent-deadline": str(int(time.time()) + deadline)}
    container = leave(client, image, **labels)
    backend = DockerBackend()

    await backend.reap()

    await backend.aclose()
    if stays:
        assert exists(client, container)
        client.remove_container(container)
    else:
        assert await gone(client, container, within=30)


def test_a_process_id_that_is_used_again_is_another_owner() -> None:
    me = Owner.current()
    assert Owner.parse(str(me)) == me
    assert me.state(me) == "alive"
    assert Owner(me.boot, me.namespace, me.pid, me.started - 1).state(me) == "dead"
    assert Owner(me.boot, "another", me.pid, me.started).state(me) == "unknown"
    assert Owner.parse("made by hand") is None
