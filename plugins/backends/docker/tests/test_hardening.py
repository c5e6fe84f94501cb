"""What Docker alone must be told to harden; the list itself is in the suite that test_conformance runs."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from docker.api import APIClient
from xagent_docker.backend import DockerBackend

from xagent_core import Engine, SandboxStartError
from xagent_core.testing.backends.common import read_until
from xagent_core.types import MIB, ExecutionRequest

pytestmark = pytest.mark.engine("docker")

TRY = """
import os
def mount(path):
    lines = [line.split() for line in open("/proc/mounts")]
    return next(set(options.split(",")) | {kind} for _, at, kind, options, *_ in reversed(lines) if at == path)
def read(path):
    return open(path).read()
"""


async def inside(engine: Engine, code: str, **arguments: Any) -> Any:
    """What a Python expression gives inside a sandbox."""
    result = await engine.execute(f"{TRY}\nimport json\nprint(json.dumps({code}))", language="test-python", **arguments)
    assert result.ok, result.error
    return json.loads(result.output)


async def test_nothing_else_is_writable_but_shared_memory_of_the_same_size(engine: Engine) -> None:
    walk = (
        "sorted({d for d, _, _ in os.walk('/') if not d.startswith('/proc') and os.access(d, os.W_OK)"
        " and not (os.statvfs(d).f_flag & os.ST_RDONLY) and not d.startswith('/tmp')})"
    )
    assert await inside(engine, walk) == ["/dev/mqueue", "/dev/shm"]
    assert {"noexec", "nosuid", "nodev", "size=10240k"} <= set(await inside(engine, "sorted(mount('/dev/shm'))"))


async def test_threads_and_subprocesses_work_under_that_filter(engine: Engine) -> None:
    code = "import threading, subprocess; t = threading.Thread(target=print, args=(1,)); t.start(); t.join();"
    result = await engine.execute(
        code + "print(subprocess.run(['sh', '-c', 'echo 2'], capture_output=True).stdout)", language="test-python"
    )
    assert result.output == "1\nb'2\\n'\n"


async def test_memory_has_no_swap(engine: Engine) -> None:
    files = {
        "/sys/fs/cgroup/memory/memory.limit_in_bytes": "67108864",
        "/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes": "67108864",
        "/sys/fs/cgroup/memory.max": "67108864",
        "/sys/fs/cgroup/memory.swap.max": "0",
    }
    code = f"{{path: read(path).strip() for path in {list(files)} if os.path.exists(path)}}"
    seen = await inside(engine, code, memory_limit="64m")
    assert len(seen) == 2
    assert all(files[path] == value for path, value in seen.items())


async def test_the_engine_keeps_no_log_and_asks_for_no_terminal(engine: Engine, client: APIClient) -> None:
    plan = engine.plan(ExecutionRequest(code="", language="test-sh"))
    sandbox = await engine.backend.start(plan.spec)
    try:
        found = client.inspect_container(sandbox.id)
    finally:
        await sandbox.kill()
    assert found["HostConfig"]["LogConfig"]["Type"] == "none"
    assert found["HostConfig"]["AutoRemove"]
    assert (found["Config"]["Tty"], found["Config"]["StdinOnce"]) == (False, True)
    assert found["Mounts"] == []


async def test_a_volume_of_the_image_is_no_way_to_the_hosts_disk(engine: Engine, client: APIClient) -> None:
    base = client.inspect_image("xagent-test:2")["Id"]
    client.tag(base, "xagent-test-volume", "base")
    container = client.create_container(base, "sh")["Id"]
    try:
        client.commit(container, "xagent-test-volume", "1", changes="VOLUME /data")
    finally:
        client.remove_container(container)
    try:
        spec = engine.plan(ExecutionRequest(code="", language="test-sh")).spec
        sandbox = await engine.backend.start(dataclasses.replace(spec, image="xagent-test-volume:1"))
        try:
            await sandbox.send(b"(echo >/data/x) && echo written >&4 || echo refused >&4\n")
            assert (await read_until(sandbox, lambda seen: b"\n" in seen["stdout"]))["stdout"] == b"refused\n"
            assert client.inspect_container(sandbox.id)["Mounts"] == []
        finally:
            await sandbox.kill()
    finally:
        client.remove_image("xagent-test-volume:1")
        client.remove_image("xagent-test-volume:base")


async def test_a_limit_that_the_daemon_refuses_is_not_dropped(engine: Engine) -> None:
    spec = engine.plan(ExecutionRequest(code="", language="test-sh")).spec
    with pytest.raises(SandboxStartError, match="memory"):
        await engine.backend.start(dataclasses.replace(spec, memory=4 * MIB))


async def test_an_unknown_runtime_is_named(image: str) -> None:
    backend = DockerBackend(runtime="no-such-runtime")
    probe = await backend.probe()
    await backend.aclose()
    assert not probe.available
    assert "no-such-runtime" in probe.detail
    assert "runc" in probe.detail
