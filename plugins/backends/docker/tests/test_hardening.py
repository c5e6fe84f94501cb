"""The hardening list, seen by programs inside that try each thing."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from docker.api import APIClient
from xagent_docker.backend import DockerBackend

from xagent_core import Engine, SandboxStartError
from xagent_core.types import MIB, ExecutionRequest, Limits, NetworkPolicy

pytestmark = pytest.mark.engine("docker")

ENOSYS, EPERM, EROFS, EACCES = 38, 1, 30, 13
NAMESPACES = ["pid", "ipc", "uts", "cgroup", "mnt", "net"]
TRY = """
import ctypes, errno, os, socket
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *args):
    result = libc.syscall(number, *args)
    return "allowed" if result >= 0 else ctypes.get_errno()
def attempt(action):
    try:
        action()
        return "allowed"
    except OSError as error:
        return error.errno
def write(path):
    return attempt(lambda: open(path, "w").close())
def status(name):
    lines = open("/proc/self/status").read().splitlines()
    return next(line.split(":", 1)[1].strip() for line in lines if line.startswith(name + ":"))
def mount(path):
    lines = [line.split() for line in open("/proc/mounts")]
    return next(set(options.split(",")) | {kind} for _, at, kind, options, *_ in reversed(lines) if at == path)
def read(path):
    return open(path).read()
"""


def own_namespaces() -> set[str]:
    return {str(Path(f"/proc/self/ns/{kind}").readlink()) for kind in NAMESPACES}


async def inside(engine: Engine, code: str, **arguments: Any) -> Any:
    """What a Python expression gives inside a sandbox."""
    result = await engine.execute(f"{TRY}\nimport json\nprint(json.dumps({code}))", language="test-python", **arguments)
    assert result.ok, result.error
    return json.loads(result.output)


async def test_the_root_is_read_only(engine: Engine) -> None:
    assert await inside(engine, "[sorted(mount('/') & {'ro'}), write('/x'), write('/etc/passwd')]") == [
        ["ro"],
        EROFS,
        EROFS,
    ]


async def test_scratch_is_a_small_tmpfs_that_executes_nothing(engine: Engine) -> None:
    options = await inside(engine, "sorted(mount('/tmp'))", limits=Limits(scratch=2 * MIB))
    assert {"tmpfs", "nosuid", "nodev", "noexec", "size=2048k"} <= set(options)

    script = "open('x', 'w').write('#!/bin/sh\\n'), os.chmod('x', 0o755)"
    assert await inside(engine, f"[{script}, attempt(lambda: os.execv('./x', ['x']))][2]") == EACCES


async def test_scratch_executes_where_the_language_compiles(engine: Engine) -> None:
    plan = engine.plan(ExecutionRequest(code="", language="test-sh"))
    sandbox = await engine.backend.start(dataclasses.replace(plan.spec, scratch_exec=True))
    try:
        await sandbox.send(b"while read -r l; do case $l in *\\ /tmp\\ *) echo $l >&4;; esac; done </proc/mounts\n")
        piece = await sandbox.receive()
        assert piece is not None
        assert b"noexec" not in piece[1]
        assert b"nosuid,nodev" in piece[1]
    finally:
        await sandbox.kill()


async def test_nothing_else_is_writable_but_shared_memory_of_the_same_size(engine: Engine) -> None:
    walk = (
        "sorted({d for d, _, _ in os.walk('/') if not d.startswith('/proc') and os.access(d, os.W_OK)"
        " and not (os.statvfs(d).f_flag & os.ST_RDONLY) and not d.startswith('/tmp')})"
    )
    assert await inside(engine, walk) == ["/dev/mqueue", "/dev/shm"]
    assert {"noexec", "nosuid", "nodev", "size=10240k"} <= set(await inside(engine, "sorted(mount('/dev/shm'))"))


async def test_the_user_is_not_root_and_has_no_capabilities(engine: Engine) -> None:
    code = "[os.getuid(), os.getgid(), *(status(n) for n in ('CapEff', 'CapPrm', 'CapBnd', 'CapAmb', 'NoNewPrivs'))]"
    assert await inside(engine, code) == [1000, 1000, *["0" * 16] * 4, "1"]


async def test_a_seccomp_filter_is_on_and_closes_what_engines_leave_open(engine: Engine) -> None:
    assert await inside(engine, "status('Seccomp')") == "2"
    # x86-64 and arm64 share the numbers above 424.
    denied = await inside(
        engine,
        "{'io_uring_setup': call(425, 1, 0), 'clone3': call(435, 0, 0), 'vsock': attempt(lambda: socket.socket(40)),"
        "'unshare': libc.unshare(0x10000000), 'mount': libc.mount(b'a', b'/tmp', b'tmpfs', 0, 0),"
        "'ptrace': libc.ptrace(0, 0, 0, 0), 'open_tree': call(428, -100, b'/', 0)}",
    )
    assert denied.pop("clone3") == ENOSYS, "C libraries fall back to clone only at this error"
    assert set(denied.values()) <= {ENOSYS, EPERM, -1}


async def test_threads_and_subprocesses_work_under_that_filter(engine: Engine) -> None:
    code = "import threading, subprocess; t = threading.Thread(target=print, args=(1,)); t.start(); t.join();"
    result = await engine.execute(
        code + "print(subprocess.run(['sh', '-c', 'echo 2'], capture_output=True).stdout)", language="test-python"
    )
    assert result.output == "1\nb'2\\n'\n"


async def test_there_is_no_network_but_loopback(engine: Engine) -> None:
    assert await inside(engine, "[name for _, name in socket.if_nameindex()]") == ["lo"]
    assert await inside(engine, "socket.create_server(('127.0.0.1', 0)).getsockname()[0]") == "127.0.0.1"


async def test_the_network_is_there_when_it_is_asked_for(engine: Engine) -> None:
    capabilities = await engine.backend.capabilities()
    if NetworkPolicy.INTERNET not in capabilities.networks:
        pytest.skip("this daemon has no network `bridge`")
    names = await inside(engine, "[name for _, name in socket.if_nameindex()]", network=NetworkPolicy.INTERNET)
    assert set(names) > {"lo"}


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


async def test_the_cpu_is_limited(engine: Engine) -> None:
    code = (
        "import time; wall = time.perf_counter(); used = time.process_time()\n"
        "while time.process_time() - used < 0.4: pass\n"
        "print(time.perf_counter() - wall)"
    )
    result = await engine.execute(code, language="test-python", cpu_limit=0.25)
    assert float(result.output) > 1.0


async def test_a_fork_bomb_hits_the_process_limit(engine: Engine) -> None:
    code = (
        "import os, time; n = 0\n"
        "try:\n"
        "    while True:\n"
        "        if os.fork() == 0: time.sleep(60); os._exit(0)\n"
        "        n += 1\n"
        "except OSError as error: print(n, error.errno, flush=True)\n"
        "os.kill(-1, 9)"
    )
    result = await engine.execute(code, language="test-python", limits=Limits(processes=32))
    children, number = result.output.split()
    assert int(children) < 32
    assert int(number) == 11


async def test_files_descriptors_and_cores_are_limited(engine: Engine) -> None:
    code = "[__import__('resource').getrlimit(which) for which in (1, 4, 7)]"
    assert await inside(engine, code) == [[10 * MIB] * 2, [0, 0], [1024, 1024]]


async def test_namespaces_are_private(engine: Engine) -> None:
    seen = await inside(engine, f"[os.readlink('/proc/self/ns/' + kind) for kind in {NAMESPACES}]")
    assert not set(seen) & own_namespaces()


async def test_the_environment_holds_nothing_of_the_host(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XAGENT_TEST_SECRET", "secret")
    seen = await inside(engine, "[sorted(os.environ), read('/proc/1/environ')]")
    assert set(seen[0]) <= {"HOME", "HOSTNAME", "LANG", "OLDPWD", "PATH", "PWD", "TMPDIR"}
    assert "secret" not in seen[1]


async def test_no_socket_of_an_engine_is_visible(engine: Engine) -> None:
    assert await inside(engine, "[p for p in ('/var/run/docker.sock', '/run/docker.sock') if os.path.exists(p)]") == []


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
            assert await sandbox.receive() == ("stdout", b"refused\n")
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
