"""A program's way through a container: what goes in, what comes out, and that nothing stays."""

from __future__ import annotations

import asyncio
import dataclasses
import io
import os
import tarfile
import threading
from collections import Counter
from collections.abc import Callable

import pytest
from docker.api import APIClient
from xagent_docker.backend import DockerBackend

from xagent_core import Engine, InputFile
from xagent_core.testing.backends.common import answers, becomes
from xagent_core.types import ExecutionRequest, Limits

pytestmark = pytest.mark.engine("docker")


async def test_standby_interpreter_runs_a_program(make_engine: Callable[..., Engine]) -> None:
    async with make_engine(ready=1) as engine:
        result = await engine.execute("print(1)", language="test-standby")

    assert (result.status, result.output, result.error, result.backend) == ("success", "1\n", "", "docker")
    assert result.unenforced == ()


async def test_input_arguments_and_files_go_in_and_a_file_comes_back(engine: Engine) -> None:
    code = "import sys; open('out.txt', 'w').write(sys.stdin.read() + sys.argv[1] + open('d/in').read())"
    result = await engine.execute(
        code,
        language="test-python",
        stdin="a",
        args=["b"],
        files=[InputFile("d/in", b"c" * 100_000)],
        collect=["*.txt"],
    )

    assert [(file.path, file.content) for file in result.files] == [("out.txt", b"ab" + b"c" * 100_000)]


async def test_an_image_without_a_tmp_folder_will_do(engine: Engine, client: APIClient) -> None:
    container = client.create_container("xagent-test:2", "sh")["Id"]
    root, without = io.BytesIO(b"".join(client.export(container))), io.BytesIO()
    client.remove_container(container)
    with tarfile.open(fileobj=root) as source, tarfile.open(fileobj=without, mode="w") as target:
        for entry in source:
            if entry.name.rstrip("/") != "tmp":
                target.addfile(entry, source.extractfile(entry) if entry.isreg() else None)
    client.import_image_from_data(without.getvalue(), repository="xagent-test", tag="no-tmp")
    try:
        spec = engine.plan(ExecutionRequest(code="", language="test-sh")).spec
        sandbox = await engine.backend.start(dataclasses.replace(spec, image="xagent-test:no-tmp"))
        try:
            assert await answers(sandbox)
        finally:
            await sandbox.kill()
    finally:
        client.remove_image("xagent-test:no-tmp")


async def test_five_megabytes_on_both_streams_come_through_whole(engine: Engine) -> None:
    code = "import sys\nfor _ in range(80): sys.stdout.write('o' * 65536); sys.stderr.write('e' * 65536)"
    result = await engine.execute(code, language="test-python", limits=Limits(output=6 * 2**20, cpus=2))

    assert result.status == "success"
    assert (result.output, result.error) == ("o" * 80 * 65536, "e" * 80 * 65536)


async def test_output_before_a_timeout_is_kept(engine: Engine) -> None:
    code = "import signal, time; signal.signal(15, signal.SIG_IGN); print('before', flush=True); time.sleep(60)"
    for timeout in (1, 20):  # the second where a busy machine has not let it print before the first
        result = await engine.execute(code, language="test-python", timeout=timeout)
        if result.output:
            break

    assert (result.status, result.output) == ("timeout", "before\n")
    assert result.execution_time < timeout + 15


async def test_a_flood_of_output_is_stopped_at_its_limit(engine: Engine) -> None:
    result = await engine.execute("while True: print('x' * 4096)", language="test-python", limits=Limits(output=10**6))

    assert (result.status, len(result.output), result.output_truncated) == ("output_limit", 10**6, True)
    assert result.execution_time < 25  # its timeout is 30 s


async def test_memory_for_a_child_alone_is_counted(engine: Engine) -> None:
    code = "import subprocess; print(subprocess.run(['python3', '-c', 'bytearray(10**9)']).returncode)"
    result = await engine.execute(code, language="test-python", memory_limit="64m")

    assert (result.status, result.output) == ("success", "-9\n")
    assert (result.usage.oom_kills or 0) >= 1


async def test_memory_beyond_the_limit_is_out_of_memory(engine: Engine) -> None:
    result = await engine.execute("print('before', flush=True); bytearray(10**9)", language="test-python")

    assert (result.status, result.output) == ("out_of_memory", "before\n")


async def test_a_program_that_kills_the_guest_ends_its_sandbox(engine: Engine) -> None:
    code = "import os; print('before', flush=True); os.kill(-1, 9)"
    result = await engine.execute(code, language="test-python")

    assert (result.status, result.output) == ("killed", "before\n")
    assert result.execution_time < 25  # its timeout is 30 s


async def test_fifty_executions_leave_nothing(
    make_engine: Callable[..., Engine], left: Callable[[], list[str]]
) -> None:
    before = _held()
    async with make_engine(ready=1, most=4) as engine:
        results = await asyncio.gather(*(engine.execute(f"print({n})", language="test-standby") for n in range(50)))

    assert [result.output for result in results] == [f"{n}\n" for n in range(50)]
    # Threads end a moment after they were told to.
    assert await becomes(lambda: not _held() - before, within=30), _held() - before
    assert left() == []


def _held() -> Counter[str]:
    """How many threads there are, and what is open, named without what changes: a socket's number."""
    with os.scandir("/proc/self/fd") as entries:
        opened = Counter(os.path.realpath(entry.path).partition("[")[0] for entry in entries)
    return opened + Counter(threads=threading.active_count())


async def test_a_backend_that_is_closed_at_once_leaves_no_connection() -> None:
    backend = DockerBackend()
    events = await backend._listening(await backend._connect())
    assert events._protocol is not None
    transport = events._protocol._own_transport
    assert transport is not None
    await backend.aclose()
    assert transport.is_closing()
