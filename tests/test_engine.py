"""The engine: from a request to a result, and to nothing left behind."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import tracemalloc
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.backends import descendants, until
from tests.host import HostBackend, slowest_callback
from xagent_core import (
    BackendError,
    BackendRegistration,
    BackendUnavailableError,
    Engine,
    ExecutionRequest,
    FinishedEvent,
    InputFile,
    InvalidRequestError,
    Language,
    Limits,
    OutputEvent,
    PolicyNotSupportedError,
    PoolConfig,
    Probe,
    SandboxLostError,
    SandboxStartError,
    Settings,
    UnknownLanguageError,
    UnknownPluginError,
    XAgentError,
    run,
)
from xagent_core.plugins import Plugins
from xagent_core.testing.fakes import FakeBackend, FakeRun, FakeSandbox

SHELL = Language(name="shell", aliases=("sh",), extensions=(".sh",), executables=("sh",), run=("sh", "{source}"))
BUILT = Language(
    name="built", extensions=(".b",), executables=("sh",), build=("sh", "-n", "{source}"), run=("sh", "{source}")
)
MIB = 2**20


class Observer:
    """A plugin that notes what it is told, and fails where it is told to."""

    def __init__(self, failing: bool = False) -> None:
        from xagent_core import hookimpl

        self.before: list[ExecutionRequest] = []
        self.after: list[tuple[object, object]] = []

        @hookimpl
        def xagent_before_execute(request, backend):
            self.before.append(request)
            if failing:
                raise RuntimeError("the observer fails")

        @hookimpl
        def xagent_after_execute(request, result, error):
            self.after.append((result, error))
            if failing:
                raise RuntimeError("the observer fails")

        self.pool: list[object] = []

        @hookimpl
        def xagent_pool_changed(backend, stats):
            self.pool.append(stats)
            if failing:
                raise RuntimeError("the observer fails")

        self.xagent_pool_changed = xagent_pool_changed
        self.xagent_before_execute = xagent_before_execute
        self.xagent_after_execute = xagent_after_execute


def plugins_with(*observers: Observer, languages: tuple[Language, ...] = (SHELL, BUILT)) -> Plugins:
    plugins = Plugins()
    for language in languages:
        plugins.languages.add(language, "tests")
    for number, observer in enumerate(observers):
        plugins.add(f"observer{number}", "tests", "1", lambda observer=observer: observer)
    assert not plugins.failures
    return plugins


def engine_on(backend, *observers: Observer, **pool) -> Engine:
    config = PoolConfig(**{"ready": 0, **pool})
    return Engine(backend, settings=Settings(), plugins=plugins_with(*observers), pool=config)


@pytest.fixture
async def host() -> AsyncIterator[Engine]:
    """An engine that runs shell scripts in real guests."""
    async with engine_on(HostBackend()) as engine:
        yield engine


async def ended(events, pass_time):
    """The result of a program whose time is up as soon as it has printed a line."""
    printed = ""
    async with contextlib.aclosing(events):
        async for event in events:
            if isinstance(event, FinishedEvent):
                return event.result
            printed += event.data
            if printed.endswith("\n"):
                pass_time(60)
    raise AssertionError("a stream ends with the result")


def runs(backend: HostBackend, program: str) -> bool:
    """Whether a program of that name runs in the backend's first sandbox."""
    for one in descendants(int(backend.sandboxes[0].id)) if backend.sandboxes else ():
        with contextlib.suppress(OSError):
            if Path(f"/proc/{one.pid}/comm").read_text() == f"{program}\n":
                return True
    return False


# --- results


@pytest.mark.parametrize("written", ["shell", "sh", "SH", "Shell"])
async def test_a_language_has_one_name_in_results_and_for_observers_however_it_was_written(written):
    observer = Observer()
    async with engine_on(FakeBackend(), observer) as engine:
        result = await engine.execute("x", language=written)
    assert result.language == "shell"
    assert observer.before == [ExecutionRequest(code="x", language="shell")]
    assert [after for after, _ in observer.after] == [result]


async def test_a_result_says_all_that_happened(host):
    result = await host.execute(
        'cat; cat file; echo "$WORD" "$@" >made.txt; echo err >&2; exit 3',
        language="sh", stdin="input\n", args=["a", "b"], env={"WORD": "word"}, files=[InputFile("file", b"file\n")],
        collect=["*.txt"],
    )  # fmt: skip
    assert (result.output, result.error) == ("input\nfile\n", "err\n")
    assert (result.status, result.exit_code, result.ok, result.phase) == ("error", 3, False, "run")
    assert (result.language, result.backend) == ("shell", "host")
    assert [(file.path, file.content) for file in result.files] == [("made.txt", b"word a b\n")]
    assert not result.files_truncated
    assert 0 < result.timings.acquire < 10
    assert result.execution_time == result.timings.run > 0


async def test_a_build_that_fails_never_runs(host):
    result = await host.execute("echo ran; (", language="built")
    assert (result.status, result.phase, result.output) == ("error", "build", "")
    assert "yntax error" in result.error
    assert result.timings.run == 0
    assert (await host.execute("echo ran", language="built")).output == "ran\n"


@pytest.mark.parametrize("ready", [0, 1])
async def test_a_sandbox_without_the_languages_interpreter_is_no_fault_of_the_program(ready):
    lacking = Language(
        name="lacking", extensions=(".x",), executables=("sh", "no-such"), run=("no-such", "{source}"), standby=True
    )
    plugins = plugins_with(languages=(lacking, SHELL))
    async with Engine(HostBackend(), settings=Settings(), plugins=plugins, pool=PoolConfig(ready=ready)) as engine:
        for _ in range(2):
            with pytest.raises(SandboxStartError, match="no program 'no-such' in the sandbox, and lacking needs it"):
                await engine.execute("", language="lacking")
        result = await engine.execute("no-such", language="shell")
    assert (result.status, result.exit_code) == ("error", 127)


async def test_a_timeout_keeps_what_was_printed_and_says_that_files_are_missing(host, pass_time):
    events = host.stream("echo x >f; echo before; sleep 60", language="shell", collect=["f"])
    result = await ended(events, pass_time)
    assert (result.status, result.exit_code, result.output) == ("timeout", None, "before\n")
    assert result.files_truncated


async def test_output_is_capped_and_said(host):
    result = await host.execute("yes", language="shell", limits=Limits(output=1000))
    assert (result.status, len(result.output)) == ("output_limit", 1000)
    assert (result.output_truncated, result.error_truncated) == (True, False)


async def test_a_characters_bytes_are_put_together_and_what_is_no_utf8_is_shown():
    euro = "€".encode()
    pieces = [
        ("stdout", euro[:1]),
        ("stderr", b"\xff"),
        ("stdout", euro[1:2]),
        ("stdout", euro[2:]),
        ("stdout", euro[:2]),
    ]
    async with engine_on(FakeBackend(FakeRun(pieces=pieces))) as engine:
        events = [event async for event in engine.stream("", language="shell")]
        *outputs, finished = events
        assert finished.result.output == "€\ufffd"
        assert finished.result.error == "\ufffd"
        assert [event.raw for event in outputs if event.stream == "stdout"] == [
            data for name, data in pieces if name == "stdout"
        ]
        assert "".join(event.data for event in outputs if event.stream == "stdout") == "€"


@pytest.mark.parametrize(
    ("run_", "status", "exit_code"),
    [
        (FakeRun(exit_code=0), "success", 0),
        (FakeRun(exit_code=1), "error", 1),
        (FakeRun(exit_code=137), "killed", 137),
        (FakeRun(exit_code=137, oom_kills=1), "out_of_memory", 137),
        (FakeRun(exit_code=1, oom_kills=1), "out_of_memory", 1),
        # A child that was killed for memory under a parent that copes is no failure of the program.
        (FakeRun(exit_code=0, oom_kills=1), "success", 0),
        (FakeRun(dies=True), "killed", 137),
        (FakeRun(dies=True, oom_kills=1), "out_of_memory", 137),
        (FakeRun(exit_code=None), "timeout", None),
    ],
)
async def test_each_way_to_end_has_its_status(run_, status, exit_code, pass_time):
    async with engine_on(FakeBackend(replace(run_, stdout=b"before\n"))) as engine:
        events = engine.stream("", language="shell")
        result = await ended(events, pass_time if status == "timeout" else lambda _seconds: None)
    assert (result.status, result.exit_code, result.output) == (status, exit_code, "before\n")


async def test_a_lost_engine_is_an_exception_and_no_result():
    async with engine_on(FakeBackend(FakeRun(lost=True))) as engine:
        with pytest.raises(SandboxLostError) as caught:
            await engine.execute("", language="shell")
    assert caught.value.code_ran == "maybe"


async def test_a_sandbox_that_died_before_its_job_is_replaced():
    backend = FakeBackend(FakeRun(stdout=b"ran\n"))
    async with engine_on(backend, ready=1) as engine:
        await engine.pool.warm(engine.plan(ExecutionRequest(code="", language="shell")).spec)
        (dead,) = backend.alive
        await dead.kill()
        assert (await engine.execute("", language="shell")).output == "ran\n"


async def test_nothing_is_tried_a_third_time():
    class Dead(FakeBackend):
        async def start(self, spec) -> FakeSandbox:
            sandbox = await super().start(spec)
            await sandbox.kill()
            return sandbox

    backend = Dead()
    async with engine_on(backend) as engine:
        with pytest.raises(SandboxLostError) as caught:
            await engine.execute("", language="shell")
    assert caught.value.code_ran == "no"
    assert len(backend.started) == 2


# --- requests


async def test_a_whole_request_is_run_as_it_is():
    backend = FakeBackend()
    async with engine_on(backend) as engine:
        await engine.execute(ExecutionRequest(code="x", language="sh", args=("a",)))
        assert backend.jobs[0].argv == ("sh", "main.sh", "a")
        assert backend.jobs[0].source == b"x"


async def test_limits_may_be_given_in_two_ways_and_the_short_one_goes_first():
    backend = FakeBackend()
    async with engine_on(backend) as engine:
        limits = Limits(memory=32 * MIB, processes=16)
        await engine.execute("", language="shell", memory_limit="64m", cpu_limit=2, limits=limits)
    (spec,) = backend.started
    assert (spec.memory, spec.cpus, spec.processes) == (64 * MIB, 2, 16)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"language": "shall"}, UnknownLanguageError),
        ({"memory_limit": "lots"}, InvalidRequestError),
        ({"memory_limit": 1}, InvalidRequestError),
        ({"timeout": -1}, InvalidRequestError),
        ({"args": "one string"}, InvalidRequestError),
        ({"collect": "*.png"}, InvalidRequestError),
        ({"stdin": "\ud800"}, InvalidRequestError),
        ({"files": [InputFile("main.sh", b"")]}, InvalidRequestError),
        ({"code": b"bytes"}, InvalidRequestError),
    ],
)
async def test_a_request_that_cannot_run_takes_no_sandbox(arguments, error):
    backend = FakeBackend()
    async with engine_on(backend) as engine:
        with pytest.raises(error):
            await engine.execute(**{"code": "", "language": "shell", **arguments})
    assert not backend.started


async def test_a_policy_that_cannot_be_held_takes_no_sandbox():
    from xagent_core import Capabilities

    backend = FakeBackend(capabilities=Capabilities(limits=frozenset()))
    async with engine_on(backend) as engine:
        with pytest.raises(PolicyNotSupportedError):
            await engine.execute("", language="shell", memory_limit="64m")
        assert not backend.started
        assert (await engine.execute("", language="shell")).unenforced == ("memory", "cpus", "processes", "scratch")


async def test_a_start_that_fails_is_the_callers_error():
    async with engine_on(FakeBackend(start_error=SandboxStartError("fake", "no"))) as engine:
        with pytest.raises(SandboxStartError):
            await engine.execute("", language="shell")


# --- streams


async def test_output_comes_while_the_program_runs(host):
    async with contextlib.aclosing(host.stream("echo one; sleep 600", language="shell", timeout=600)) as events:
        async with asyncio.timeout(30):
            event = await anext(events)
    assert isinstance(event, OutputEvent)
    assert event.data == "one\n"


async def test_leaving_a_stream_kills_the_program():
    backend = HostBackend()
    async with engine_on(backend) as engine:
        async with contextlib.aclosing(engine.stream("echo x; sleep 60", language="shell")) as events:
            async for _ in events:
                break
        async with asyncio.timeout(30):
            await backend.sandboxes[0].wait()


async def test_leaving_a_stream_without_closing_it_kills_the_program_too():
    backend = HostBackend()
    async with engine_on(backend) as engine:
        async for _ in engine.stream("echo x; sleep 60", language="shell"):
            break
        gc.collect()
        async with asyncio.timeout(30):
            await backend.sandboxes[0].wait()


async def test_cancelling_a_call_kills_the_program():
    backend = HostBackend()
    async with engine_on(backend) as engine:
        call = asyncio.create_task(engine.execute("sleep 60", language="shell"))
        await until(lambda: runs(backend, "sleep"))
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        async with asyncio.timeout(30):
            await backend.sandboxes[0].wait()


async def test_a_slow_reader_holds_the_program_back_and_memory_stays_small(host):
    """200 MB are offered, and nobody may keep what was not fetched."""
    events = host.stream("head -c 200000000 /dev/zero", language="shell", limits=Limits(output=2**30))
    tracemalloc.start()
    try:
        async with contextlib.aclosing(events):
            await anext(events)
            await asyncio.sleep(0.5)
            _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 * MIB


async def test_a_program_that_ended_while_its_reader_slept_has_ended(pass_time):
    backend = HostBackend()
    async with (
        engine_on(backend) as engine,
        contextlib.aclosing(engine.stream("echo one; exit 4", language="shell", timeout=60)) as events,
    ):
        await anext(events)
        pieces = backend.sandboxes[0]._pieces._queue
        # The guest tells the end on the standard output, and then there, where the program wrote nothing.
        await until(lambda: any(piece and piece[0] == "stderr" for piece in pieces))
        pass_time(61)
        *_, finished = [event async for event in events]
    assert (finished.result.status, finished.result.exit_code) == ("error", 4)


async def test_the_event_loop_is_never_held_up(host):
    await host.execute("true", language="shell")
    times = []
    # What holds it up does so each time; what the machine did meanwhile does not.
    while not times or (times[-1] >= 0.02 and len(times) < 5):
        with slowest_callback() as slowest:
            result = await host.execute(
                "cat >copy; cat copy; cat big >&2",
                language="shell", stdin=b"x" * MIB, files=[InputFile("big", b"y" * MIB)], collect=["copy", "big"],
            )  # fmt: skip
        assert (len(result.output), len(result.error), len(result.files)) == (MIB, MIB, 2)
        times.append(slowest())
    assert min(times) < 0.02, times


# --- observers


async def test_observers_hear_once_of_each_way_to_end():
    watcher = Observer()
    backend = FakeBackend(
        lambda job: FakeRun(lost=b"lost" in job.source, exit_code=None if b"ever" in job.source else 0)
    )
    async with engine_on(backend, watcher) as engine:
        result = await engine.execute("fine", language="shell")
        assert watcher.after.pop() == (result, None)

        [event async for event in engine.stream("fine", language="shell")]
        ((streamed, error),) = watcher.after
        assert (streamed.status, error) == ("success", None)
        watcher.after.clear()

        with pytest.raises(SandboxLostError) as lost:
            await engine.execute("lost", language="shell")
        assert watcher.after.pop() == (None, lost.value)

        with pytest.raises(UnknownLanguageError) as unknown:
            await engine.execute("", language="unknown")
        assert watcher.after.pop() == (None, unknown.value)

        call = asyncio.create_task(engine.execute("for ever", language="shell"))
        await asyncio.sleep(0.01)
        call.cancel()
        await asyncio.wait([call])
        ((none, cancelled),) = watcher.after
        assert none is None
        assert isinstance(cancelled, asyncio.CancelledError)
        watcher.after.clear()

        async with contextlib.aclosing(engine.stream("for ever", language="shell", timeout=9)) as events:
            leaving = asyncio.ensure_future(anext(events))
            await asyncio.sleep(0.01)
            leaving.cancel()
            await asyncio.wait([leaving])
        assert len(watcher.after) == 1
    assert len(watcher.before) == 6


async def test_an_observer_that_fails_changes_nothing(caplog):
    failing, watching = Observer(failing=True), Observer()
    async with engine_on(FakeBackend(FakeRun(stdout=b"x")), failing, watching) as engine:
        assert (await engine.execute("", language="shell")).output == "x"
    assert len(watching.before) == len(watching.after) == 1
    assert max(stats.running for stats in watching.pool) == watching.pool[-1].handed_out_cold == 1
    assert caplog.text.count("the observer fails") >= 2


# --- opening and closing


async def test_before_it_is_entered_it_says_how_to():
    engine = engine_on(FakeBackend())
    for use in (lambda: engine.backend, lambda: engine.pool):
        with pytest.raises(XAgentError, match=r"engine: it is not open\. Use `async with Engine"):
            use()
    with pytest.raises(XAgentError, match="it is not open"):
        await engine.execute("", language="shell")


async def test_it_is_entered_once_at_a_time():
    backend = FakeBackend()
    async with engine_on(backend) as engine:
        with pytest.raises(XAgentError, match="it is open already"):
            await engine.__aenter__()
        assert await engine.execute("", language="shell")
    assert backend.closed


async def test_closing_frees_everything_and_may_be_done_again():
    backend = FakeBackend(FakeRun(exit_code=None))
    engine = engine_on(backend, ready=2)
    await engine.__aenter__()
    running = asyncio.create_task(engine.execute("", language="shell"))
    await engine.pool.warm(engine.plan(ExecutionRequest(code="", language="shell")).spec)
    await until(lambda: backend.jobs)
    await asyncio.sleep(0.01)  # a turn of the loop, in which the fake says that the program has begun
    await engine.aclose()
    await engine.aclose()
    assert backend.closed
    assert not backend.alive
    assert (await running).status == "killed"
    with pytest.raises(XAgentError, match="it is not open"):
        await engine.execute("", language="shell")


async def test_a_closing_that_is_cancelled_still_closes():
    class SlowToEnd(FakeBackend):
        async def aclose(self) -> None:
            await asyncio.sleep(0.05)
            await super().aclose()

    backend = SlowToEnd()
    engine = await engine_on(backend, ready=1).__aenter__()
    await engine.execute("", language="shell")
    closing = asyncio.create_task(engine.aclose())
    await asyncio.sleep(0.01)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    assert backend.closed
    assert not backend.alive


async def test_languages_that_are_to_be_warm_are():
    backend = FakeBackend()
    async with Engine(
        backend, settings=Settings(), plugins=plugins_with(), pool=PoolConfig(ready=2), warm=["sh", "built"]
    ) as engine:
        assert engine.pool.stats().ready == 4


async def test_entering_that_fails_frees_the_backend():
    for backend, error in (
        (FakeBackend(start_error=SandboxStartError("fake", "no")), SandboxStartError),
        (FakeBackend(), UnknownLanguageError),
    ):
        warm = ["shell"] if error is SandboxStartError else ["unknown"]
        with pytest.raises(error):
            async with Engine(backend, settings=Settings(), plugins=plugins_with(), warm=warm):
                pass
        assert backend.closed
        assert not backend.alive


async def test_what_dead_owners_left_is_removed_and_a_failure_of_that_is_no_harm(caplog):
    class Failing(FakeBackend):
        async def reap(self) -> list[str]:
            raise BackendError("fake", "it cannot look")

    with caplog.at_level(logging.INFO):
        async with engine_on(FakeBackend(leftovers=["container 5"])):
            await asyncio.sleep(0)
        async with engine_on(Failing()) as engine:
            assert (await engine.execute("", language="shell")).ok
    assert "reaped container 5" in caplog.text
    assert "could not be removed: fake: it cannot look" in caplog.text


# --- choosing a backend


def registered(*backends: tuple[FakeBackend, int]) -> Plugins:
    plugins = plugins_with()
    for backend, preference in backends:
        plugins.backends.add(
            BackendRegistration(
                name=backend.name, summary="", factory=lambda _, backend=backend: backend, preference=preference
            ),
            f"xagent-{backend.name}",
        )
    return plugins


def backend_that(name: str, *, available: bool) -> FakeBackend:
    return FakeBackend(name=name, probe=Probe(available=available, detail=f"{name} is off", fix=f"Start {name}."))


async def test_auto_takes_the_best_that_answers_and_closes_the_others():
    first = backend_that("first", available=False)
    second, third = (backend_that(name, available=True) for name in ("second", "third"))
    plugins = registered((third, 50), (first, 10), (second, 20))
    async with Engine("auto", plugins=plugins, settings=Settings()) as engine:
        assert engine.backend is second
        assert (await engine.execute("", language="shell")).backend == "second"
    assert first.closed
    assert not third.closed


async def test_auto_without_any_says_why_of_each_and_what_to_install():
    plugins = registered((backend_that("b", available=False), 20), (backend_that("a", available=False), 10))
    with pytest.raises(BackendUnavailableError) as caught:
        await Engine("auto", plugins=plugins, settings=Settings()).__aenter__()
    text = str(caught.value)
    assert "a: a is off. Start a.; b: b is off. Start b." in text
    assert "pip install xagent-bubblewrap" in text


async def test_a_backend_that_was_named_and_is_off_is_an_error_and_no_other_is_taken():
    off, on = backend_that("off", available=False), backend_that("on", available=True)
    with pytest.raises(BackendUnavailableError, match=r"off: off is off\. Start off\."):
        await Engine("off", plugins=registered((off, 10), (on, 20)), settings=Settings()).__aenter__()
    assert off.closed


async def test_an_unknown_backend_says_which_there_are():
    plugins = registered((FakeBackend(name="docker"), 10))
    with pytest.raises(UnknownPluginError, match=r"Did you mean docker\? Installed: docker"):
        await Engine("dokcer", plugins=plugins, settings=Settings()).__aenter__()


async def test_a_probe_that_fails_or_is_cancelled_leaves_no_open_backend():
    class Broken(FakeBackend):
        async def probe(self) -> Probe:
            raise BackendError("broken", "it cannot be asked")

    class Stuck(FakeBackend):
        async def probe(self) -> Probe:
            await asyncio.sleep(3600)
            raise AssertionError

    broken, good, stuck = Broken(name="broken"), FakeBackend(name="good"), Stuck(name="stuck")
    async with Engine("auto", plugins=registered((broken, 10), (good, 20)), settings=Settings()) as engine:
        assert engine.backend is good
    assert broken.closed
    entering = asyncio.create_task(Engine("stuck", plugins=registered((stuck, 10)), settings=Settings()).__aenter__())
    await asyncio.sleep(0.01)
    entering.cancel()
    await asyncio.wait([entering])
    assert stuck.closed


async def test_settings_name_the_backend_where_the_caller_does_not():
    plugins = registered((FakeBackend(name="a"), 10), (FakeBackend(name="b"), 20))
    async with Engine(plugins=plugins, settings=Settings(backend="b")) as engine:
        assert engine.backend.name == "b"


def test_run_is_the_door_for_synchronous_callers(monkeypatch):
    monkeypatch.setattr("xagent_core.engine.load_plugins", lambda _: plugins_with())
    backend = FakeBackend(FakeRun(stdout=b"hi\n"))
    assert run("echo hi", backend=backend, language="shell").output == "hi\n"
    assert backend.closed
    assert len(backend.started) == 1, "nothing is started ahead for a single run"


async def test_run_in_an_event_loop_says_so():
    with pytest.raises(RuntimeError, match=r"await Engine\.execute there"):
        run("", backend=FakeBackend())


# --- sessions: the streams stay in step whatever is cut short


async def test_a_session_is_idle_from_when_it_is_open_however_long_that_took(pass_time):
    class Late(HostBackend):
        async def start(self, spec):
            pass_time(200)
            return await super().start(spec)

    async with engine_on(Late()) as engine, engine.session("shell", idle_seconds=100) as session:
        await asyncio.sleep(0.01)
        assert (await session.execute("echo kept")).output == "kept\n"


@pytest.mark.parametrize("operation", ["read", "write", "list"])
async def test_a_session_goes_on_after_a_file_operation_that_was_cancelled(host, operation):
    async with host.session("shell") as session:
        await session.execute(
            "head -c 3000000 /dev/zero >big; echo kept >state; mkdir -p d; touch d/$(seq -s ' d/' 500)"
        )
        for delay in (0, 0.001, 0.005, 0.02):
            work = {
                "read": lambda: session.read_file("big"),
                "write": lambda: session.write_file("new", b"x" * 1_000_000),
                "list": session.list_files,
            }[operation]
            task = asyncio.create_task(work())
            await asyncio.sleep(delay)
            task.cancel()
            await asyncio.wait([task])
            result = await session.execute("cat state")
            assert result.output in ("kept\n", "")
            if result.output == "":  # The sandbox was given up with what it held: then that is said.
                assert result.state_lost or "state" in result.error
                await session.execute("head -c 3000000 /dev/zero >big; echo kept >state")


async def test_a_session_goes_on_after_a_file_that_is_too_large(host):
    async with host.session("shell", limits=Limits(collect=1000, scratch=64 * MIB)) as session:
        await session.execute("head -c 3000000 /dev/zero >big; echo small >small")
        with pytest.raises(InvalidRequestError, match="larger than the limit"):
            await session.read_file("big")
        assert await session.read_file("small") == b"small\n"
        assert (await session.execute("cat small")).output == "small\n"


async def test_a_session_tells_that_a_cancelled_call_has_cost_its_state():
    backend = HostBackend()
    async with engine_on(backend) as engine, engine.session("shell") as session:
        assert not (await session.execute("echo kept >state")).state_lost
        call = asyncio.create_task(session.execute("sleep 60"))
        await until(lambda: runs(backend, "sleep"))
        call.cancel()
        await asyncio.wait([call])
        result = await session.execute("cat state")
        assert result.state_lost
        assert not result.ok
        assert not (await session.execute("true")).state_lost


async def test_a_program_that_never_lets_its_reader_wait_meets_the_timeout(host):
    """There is always something to fetch, and the reader is slow."""
    events = host.stream("exec yes", language="shell", timeout=0.5, limits=Limits(output=2**30))
    last = None
    async with asyncio.timeout(60):
        async for event in events:
            await asyncio.sleep(0.05)
            last = event
    assert last.result.status == "timeout"


async def test_a_program_is_stopped_even_if_nobody_fetches_its_output(pass_time):
    backend = HostBackend()
    async with engine_on(backend) as engine:
        events = engine.stream("echo one; sleep 60", language="shell")
        async with contextlib.aclosing(events):
            await anext(events)
            pass_time(40)
            async with asyncio.timeout(30):
                await backend.sandboxes[0].wait()
            *_, finished = [event async for event in events]
    assert finished.result.status == "timeout"


@pytest.mark.parametrize("ready", [0, 1])
async def test_a_cancellation_at_any_step_leaves_no_sandbox(ready):
    watcher, step, cancelled = Observer(), 0, True
    while cancelled:
        backend = FakeBackend(FakeRun(pieces=[("stdout", b"x")] * 3, files={"f": b"y"}))
        async with engine_on(backend, watcher, ready=ready, most=2) as engine:
            await engine.pool.warm(engine.plan(ExecutionRequest(code="", language="shell")).spec)
            call = asyncio.create_task(engine.execute("", language="shell", collect=["f"]))
            for _ in range(step):
                await asyncio.sleep(0)
            cancelled = not call.done()
            call.cancel()
            await asyncio.wait([call])
            async with asyncio.timeout(30):
                again = await asyncio.gather(*(engine.execute("", language="shell") for _ in range(3)))
            assert {result.output for result in again} == {"xxx"}
        assert not backend.alive
        # Whatever was begun has ended, and once.
        assert len(watcher.before) == len(watcher.after)
        step += 1
    assert step > 5
