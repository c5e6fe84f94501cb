"""The fake backend, through a real engine: what it is asked, and what it can be made to answer."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from xagent_core import (
    Engine,
    ExecutionRequest,
    InputFile,
    Language,
    PoolConfig,
    SandboxLostError,
    SandboxStartError,
    hookimpl,
)
from xagent_core.config import Settings
from xagent_core.plugins import Plugins
from xagent_core.testing.fakes import FakeBackend, FakeRun

COLD = PoolConfig(ready=0)


@pytest.fixture
def plugins() -> Plugins:
    plain = Language(name="plain", run=("plain", "{source}"), executables=("plain",), extensions=(".pl",))
    built = Language(name="built", build=("cc", "{source}"), run=("./a.out",), executables=("cc",), extensions=(".c",))
    ahead = Language(
        name="ahead", run=("ahead", "-u", "{source}"), executables=("ahead",), extensions=(".a",), standby=True
    )
    plugins = Plugins()
    plugins.add(
        "t", "t", "1", lambda: SimpleNamespace(xagent_register_languages=hookimpl(lambda: [plain, built, ahead]))
    )
    return plugins


def engine(backend: FakeBackend, plugins: Plugins) -> Engine:
    return Engine(backend, settings=Settings(), plugins=plugins, pool=COLD)


AWKWARD = 'it\'s "quoted"\n$HOME `x` \\ ; | & env run { é'


@pytest.mark.parametrize("size", [0, 10, 5000, 65536, 200_001])
async def test_a_job_is_read_back_as_it_was_asked_for(plugins, size):
    backend = FakeBackend()
    content = bytes(range(256)) * (size // 256) + b"\n'" * (size % 256)
    async with engine(backend, plugins) as running:
        await running.execute(
            AWKWARD * (size // 100 + 1),
            language="built",
            args=[AWKWARD, "", "run"],
            env={"A": AWKWARD, "B": "x=y"},
            stdin=content,
            files=[InputFile("d/it's.bin", content), InputFile("b", b"")],
            memory_limit="64m",
        )
    (job,) = backend.jobs
    assert job.source == (AWKWARD * (size // 100 + 1)).encode()
    assert job.argv == ("./a.out", AWKWARD, "", "run")
    assert job.build == ("cc", "main.c")
    assert job.env["A"] == AWKWARD
    assert job.env["B"] == "x=y"
    assert job.stdin == content
    assert job.files == {"d/it's.bin": content, "b": b""}
    assert job.spec.memory == 64 * 2**20


async def test_a_job_of_a_standby_interpreter_is_read_back_too(plugins):
    backend = FakeBackend()
    async with engine(backend, plugins) as running:
        await running.execute("code", language="ahead", stdin=b"in")
        await running.execute("code" * 2000, language="ahead")
    first, second = backend.jobs
    assert (first.source, first.argv, first.stdin) == (b"code", ("ahead", "-u", "main.a"), b"in")
    assert second.source == b"code" * 2000


async def test_an_interpreter_is_started_ahead_only_where_no_job_waits_for_it(plugins):
    backend = FakeBackend()
    async with Engine(backend, settings=Settings(), plugins=plugins, pool=PoolConfig(ready=1)) as running:
        await running.execute("1", language="ahead")
        await running.pool.warm(running.plan(ExecutionRequest(code="", language="ahead")).spec)
        await running.execute("2", language="ahead")
    cold, ready = backend.jobs
    assert cold.argv == ready.argv == ("ahead", "-u", "main.a")
    assert ["ahead" in job.spec.command for job in backend.jobs] == [False, True]


async def test_a_run_answers_with_output_and_exit_code(plugins):
    backend = FakeBackend(FakeRun(stdout=b"out", stderr=b"err", exit_code=3))
    async with engine(backend, plugins) as running:
        result = await running.execute("", language="plain")
    assert (result.status, result.exit_code, result.output, result.error) == ("error", 3, "out", "err")


async def test_the_answer_may_depend_on_the_job(plugins):
    backend = FakeBackend(lambda job: FakeRun(stdout=job.stdin.upper()))
    async with engine(backend, plugins) as running:
        assert (await running.execute("", language="plain", stdin="hi")).output == "HI"


@pytest.mark.parametrize(
    ("run", "status", "phase"),
    [
        (FakeRun(exit_code=None), "timeout", "run"),
        (FakeRun(exit_code=137, oom_kills=1), "out_of_memory", "run"),
        (FakeRun(exit_code=137), "killed", "run"),
        (FakeRun(dies=True), "killed", "run"),
        (FakeRun(stdout=b"x" * 2**20 + b"x", exit_code=None), "output_limit", "run"),
        (FakeRun(build_exit_code=1, stderr=b"line 1: no"), "error", "build"),
    ],
)
async def test_every_status_can_be_played(plugins, run, status, phase):
    async with engine(FakeBackend(run), plugins) as running:
        result = await running.execute("", language="built", timeout=0.2 if status == "timeout" else 30)
    assert (result.status, result.phase) == (status, phase)


async def test_collected_files_are_what_the_script_says(plugins):
    backend = FakeBackend(FakeRun(files={"out/a.txt": b"a", "b.txt": b"b"}))
    async with engine(backend, plugins) as running:
        result = await running.execute("", language="plain", collect=["out/*"])
    assert [(file.path, file.content) for file in result.files] == [("out/a.txt", b"a")]
    assert not result.files_truncated


async def test_a_lost_connection_and_a_failed_start_are_errors(plugins):
    async with engine(FakeBackend(FakeRun(lost=True)), plugins) as running:
        with pytest.raises(SandboxLostError):
            await running.execute("", language="plain")
    failing = FakeBackend(start_error=SandboxStartError("fake", "no room"))
    async with engine(failing, plugins) as running:
        with pytest.raises(SandboxStartError, match="no room"):
            await running.execute("", language="plain")


async def test_it_tells_what_was_left_alive(plugins):
    backend = FakeBackend(FakeRun(exit_code=None))
    async with engine(backend, plugins) as running:
        task = asyncio.create_task(running.execute("", language="plain"))
        while not backend.jobs:  # noqa: ASYNC110 - a fake has no event to wait for
            await asyncio.sleep(0)
        assert len(backend.alive) == 1
        task.cancel()
        await asyncio.wait([task])
    assert not backend.alive
    assert backend.closed
