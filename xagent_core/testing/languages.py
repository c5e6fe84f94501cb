"""The suite of languages: what holds for programs of every language, tried with samples that its plugin brings."""

from __future__ import annotations

import re
import tomllib
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from importlib import resources
from types import SimpleNamespace
from typing import Final

import pytest
import pytest_asyncio

from xagent_core.abc.language import Language
from xagent_core.config import PoolConfig, Settings
from xagent_core.engine import Engine
from xagent_core.errors import ImageNotFoundError
from xagent_core.hookspecs import hookimpl
from xagent_core.plugins import Plugins, load_plugins
from xagent_core.policy import DEFAULT_LIMITS
from xagent_core.testing.backends.common import BackendSource, make_backend
from xagent_core.testing.pytest_plugin import give_up
from xagent_core.testing.suite import Conformance, required_fixture
from xagent_core.types import ExecutionRequest, ExecutionResult, InputFile, Limits

__all__ = ["SAMPLES", "LanguageConformance"]

SAMPLES: Final = {
    "input": "copies its input to its output",
    "arguments": "prints each of its arguments, and a newline after each",
    "environment": "prints the value of the environment variable SAMPLE and a newline",
    "exit": "prints `before` and a newline, then exits with code 7",
    "files": "copies the file in.txt to out.txt",
    "unicode": "prints `héllo 日本 🦊 \\` and a newline, from a literal",
    "mistake": "cannot be compiled or parsed",
    "failure": "fails in its third line, because of something called `broken`, as programs do that nobody has finished",
    "forever": "prints `before` without a newline, and goes on without an end",
}
"""The sample programs of every language, and what each does."""

SESSION_SAMPLES: Final = {
    "remember": "keeps the number 41 in a variable",
    "recall": "prints that number, increased by one, and a newline",
}
"""Those of a language whose sessions keep variables."""

_NO_SAMPLES: Final = "Language(samples=...) is left out: what its programs do was not tried"
_TIMEOUTS: Final = (3.0, 30.0)
_SESSION_TIMEOUTS: Final = (1.5, 30.0)
"""Seconds: the second where a busy machine has not let the program print before the first."""
_NOT_STARTED: Final = (None, 126, 127)  # the codes by which shells say that a program is not there, or is none
_STDIN: Final = "no newline at the end, ünö and 日本\n" + "0123456789abcdef\n" * 6000 + "end"
_ARGUMENTS: Final = ("a b", "$(x) 'q' \"*\"", "ünö", "--flag", "-x", "\\n", "")
_VALUE: Final = "ä \\ $HOME `x` 'q' \" "
_EDITS: Final[Mapping[str, Callable[[str], str]]] = {
    "byte-order mark": lambda code: "\ufeff" + code,
    "crlf": lambda code: code.replace("\n", "\r\n") + "\r\n",
    "no last newline": lambda code: code.rstrip("\n"),
}


class LanguageConformance(Conformance, suite=True, fixtures=("language", "backend")):
    """All that a language promises, on every installed backend that can be used.

        class TestPerl(LanguageConformance):
            language = fixed("perl")

    Fixtures:
        language: Required. The language, or the name of an installed one.
        backend: The backend to run it on: a registered name, or what makes one. Without it the class runs on each
            that is installed.
    """

    language = required_fixture("the language, or the name of an installed one")

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Runs the tests on every installed backend, where the author has not chosen one."""
        if "backend" in metafunc.fixturenames and not hasattr(self, "backend"):
            names = [backend.name for backend in load_plugins().backends]
            marked = [pytest.param(name, marks=pytest.mark.engine(name)) for name in names]
            metafunc.parametrize("backend", marked, scope="class")

    @pytest.fixture(scope="class")
    @classmethod
    def tested(cls, language: Language | str) -> Language:
        """The language itself."""
        return load_plugins().languages[language] if isinstance(language, str) else language

    @pytest.fixture(scope="class")
    @classmethod
    def programs(cls, tested: Language) -> Mapping[str, str]:
        """The texts of its samples."""
        package, _, name = tested.samples.partition(":")
        if not name:
            return {}
        return tomllib.loads(resources.files(package).joinpath(name).read_text("utf-8"))

    @pytest_asyncio.fixture(scope="class", loop_scope="class")
    @classmethod
    async def engine(cls, tested: Language, backend: BackendSource) -> AsyncIterator[Engine]:
        """An engine whose interpreters stand by, where the language says that they can."""
        async with _engine(tested, backend, ready=1 if tested.standby else 0) as engine:
            try:
                await engine.execute(tested.hello, language=tested.name)
            except ImageNotFoundError as error:
                give_up(engine.backend.name, str(error))
            yield engine

    def test_its_description_is_whole(self, tested: Language) -> None:
        """What backends look for, and what users call it."""
        assert tested.executables, "a backend looks for these"
        assert all(ending.startswith(".") for ending in tested.extensions), "extensions begin with a dot"
        assert len({tested.name, *tested.aliases}) == 1 + len(tested.aliases), "an alias is there twice"

    def test_a_line_sums_it_up(self, tested: Language) -> None:
        """What users see in lists."""
        if not tested.summary:
            pytest.skip("Language(summary=...) is left out: lists show users its name, and no more")
        assert "\n" not in tested.summary

    def test_an_alias_that_is_an_extension_gives_the_source_that_extension(self, tested: Language) -> None:
        """Others give the language's own."""
        for alias in (tested.name, *tested.aliases):
            name = tested.prepare(ExecutionRequest(code="", language=alias)).source_name
            is_ending = alias in tested.aliases and f".{alias}" in tested.extensions
            ending = f".{alias}" if is_ending else tested.extensions[0]
            assert name == tested.source_name or name.endswith(ending)

    def test_every_sample_is_there(self, tested: Language, programs: Mapping[str, str]) -> None:
        """`samples` of the language names a file with them all."""
        if not tested.samples:
            pytest.skip(f"{_NO_SAMPLES}. The file would hold {_listed(SAMPLES)}")
        wanted = SAMPLES | (SESSION_SAMPLES if tested.session else {})
        missing = {name: does for name, does in wanted.items() if name not in programs}
        assert not missing, f"the file that Language(samples=...) names must hold {_listed(missing)}"
        assert set(programs) <= set(wanted), "it holds programs that nothing runs"

    async def test_hello(self, engine: Engine, tested: Language) -> None:
        """The program that `xagent doctor` runs; many empty lines behind it change nothing."""
        if not tested.hello:
            result = await engine.execute("", language=tested.name)
            started = result.exit_code not in _NOT_STARTED
            assert started, f"an empty program was not started: exit code {result.exit_code}, {result.error}"
            pytest.skip("Language(hello=...) is left out: an empty program was started, and nothing can be told of it")
        for code in (tested.hello, tested.hello + "\n" * 200_000):
            result = await engine.execute(code, language=tested.name)
            assert (result.status, result.output, result.error) == ("success", "hello\n", "")

    async def test_it_runs_with_the_least_that_it_needs(self, engine: Engine, tested: Language) -> None:
        """Callers may set limits as low as `needs` says, and no language needs less processes than any may have."""
        if not tested.hello:
            pytest.skip("Language(hello=...) is left out")
        needs, held = tested.needs, (await engine.backend.capabilities()).limits
        least = {
            "memory": needs.memory or None,
            "scratch": needs.scratch or None,
            "processes": max(needs.processes, int(Limits.BOUNDS["processes"][0])),
        }
        limits = Limits(**{name: value for name, value in least.items() if name in held})
        result = await engine.execute(tested.hello, language=tested.name, limits=limits)
        assert result.status == "success", f"with {limits} it ended with {result.status}: {result.error}"

    async def test_input_arrives_as_given(self, engine: Engine, tested: Language, programs: Mapping[str, str]) -> None:
        """More of it than a pipe holds, and none: the end of the input comes."""
        for stdin in (_STDIN, ""):
            result = await _run(engine, tested, programs, "input", stdin=stdin)
            assert (result.status, result.error) == ("success", "")
            assert result.output == stdin

    async def test_arguments_arrive_as_given(
        self, engine: Engine, tested: Language, programs: Mapping[str, str]
    ) -> None:
        """Blanks, quotes, what shells would replace, and what looks like an option of the interpreter's."""
        result = await _run(engine, tested, programs, "arguments", args=_ARGUMENTS)
        assert (result.status, result.error) == ("success", "")
        assert result.output == "".join(f"{argument}\n" for argument in _ARGUMENTS)

    async def test_the_environment_arrives_as_given(
        self, engine: Engine, tested: Language, programs: Mapping[str, str]
    ) -> None:
        """With all that shells would replace."""
        result = await _run(engine, tested, programs, "environment", env={"SAMPLE": _VALUE})
        assert (result.status, result.output, result.error) == ("success", f"{_VALUE}\n", "")

    async def test_the_exit_code_is_the_programs_own(
        self, engine: Engine, tested: Language, programs: Mapping[str, str]
    ) -> None:
        """And what was printed before is there."""
        result = await _run(engine, tested, programs, "exit")
        assert (result.status, result.exit_code, result.phase) == ("error", 7, "run")
        assert (result.output, result.error) == ("before\n", "")

    async def test_files_go_in_and_come_back(
        self, engine: Engine, tested: Language, programs: Mapping[str, str]
    ) -> None:
        """In the working directory, byte for byte."""
        content = "one\nzwei: ünö\n".encode()
        files = [InputFile("in.txt", content)]
        result = await _run(engine, tested, programs, "files", files=files, collect=["out.*"])
        assert (result.status, result.error) == ("success", "")
        assert [(file.path, file.content) for file in result.files] == [("out.txt", content)]

    @pytest.mark.parametrize("edit", ["none", *_EDITS])
    async def test_text_runs_however_an_editor_left_it(
        self, engine: Engine, tested: Language, programs: Mapping[str, str], edit: str
    ) -> None:
        """In UTF-8, whatever its line ends."""
        change: Callable[[str], str] = _EDITS.get(edit, str)
        code = change(_sample(programs, "unicode"))
        result = await engine.execute(code, language=tested.name)
        assert (result.status, result.output, result.error) == ("success", "héllo 日本 🦊 \\\n", "")

    async def test_a_mistake_is_told_by_the_phase_that_finds_it(
        self, engine: Engine, tested: Language, programs: Mapping[str, str]
    ) -> None:
        """In the build step where there is one; with the source's name."""
        result = await _run(engine, tested, programs, "mistake")
        assert (result.status, result.output) == ("error", "")
        assert result.phase == ("build" if tested.build else "run")
        assert result.exit_code != 0
        assert _source_name(tested) in result.error

    async def test_a_failure_names_its_line(
        self, engine: Engine, tested: Language, programs: Mapping[str, str]
    ) -> None:
        """Of the source as it was written, in the language's own words."""
        result = await _run(engine, tested, programs, "failure")
        assert (result.status, result.phase) == ("error", "run")
        assert "broken" in result.error
        assert re.search(rf"{re.escape(_source_name(tested))}\D{{1,10}}3\b", result.error), result.error

    async def test_what_was_printed_before_a_timeout_is_kept(
        self, engine: Engine, tested: Language, programs: Mapping[str, str]
    ) -> None:
        """Although nothing has flushed it but the language itself, and no newline came."""
        for timeout in _TIMEOUTS:
            result = await _run(engine, tested, programs, "forever", timeout=2 * timeout if tested.build else timeout)
            if result.output:
                break
        assert (result.status, result.phase, result.output) == ("timeout", "run", "before")

    async def test_standing_by_changes_nothing(
        self, engine: Engine, tested: Language, backend: BackendSource, programs: Mapping[str, str]
    ) -> None:
        """A program that an interpreter was waiting for does what it does in one that is started for it."""
        if not tested.standby:
            pytest.skip("it does not stand by")
        assert tested.prepare(ExecutionRequest(code=tested.hello, language=tested.name)).standby
        names = ("exit", "failure", "mistake", "input")
        before = engine.pool.stats().handed_out_ready
        ready = [await _run(engine, tested, programs, name, stdin="in") for name in names]
        assert engine.pool.stats().handed_out_ready == before + len(names)
        async with _engine(tested, backend, ready=0) as other:
            for name, stood_by in zip(names, ready, strict=True):
                cold = await _run(other, tested, programs, name, stdin="in")
                own = await _run(other, tested, programs, name, stdin="in", env={"SAMPLE": ""})
                assert _outcome(stood_by) == _outcome(cold) == _outcome(own), f"the sample {name!r}"

    async def test_a_session_keeps_files(self, engine: Engine, tested: Language, programs: Mapping[str, str]) -> None:
        """From call to call, and as its owner writes and reads them."""
        code = _sample(programs, "files")
        async with engine.session(tested.name) as session:
            await session.write_file("in.txt", b"kept")
            result = await session.execute(code)
            assert (result.status, result.error) == ("success", "")
            assert await session.read_file("out.txt") == b"kept"

    async def test_a_session_keeps_variables(
        self, engine: Engine, tested: Language, programs: Mapping[str, str]
    ) -> None:
        """Over calls that fail and calls that are interrupted; one that cannot keep them says so."""
        if tested.session is None:
            pytest.skip("its sessions keep files only")
        recall = _sample(programs, "recall")
        async with engine.session(tested.name) as session:
            assert (await session.execute(_sample(programs, "remember"))).ok
            failed = await session.execute(_sample(programs, "failure"))
            assert failed.status == "error"
            assert "broken" in failed.error
            assert not failed.state_lost
            result = await session.execute(recall)
            assert (result.status, result.output) == ("success", "42\n")
            lost = False
            for timeout in _SESSION_TIMEOUTS:
                stopped = await session.execute(_sample(programs, "forever"), timeout=timeout)
                lost = lost or stopped.state_lost
                if stopped.output:
                    break
            assert (stopped.status, stopped.output) == ("timeout", "before")
            again = await session.execute(recall)
            assert lost or again.output == "42\n"


def _sample(programs: Mapping[str, str], name: str) -> str:
    """A sample's text; a missing one is the matter of a test of its own."""
    if name not in programs:
        pytest.skip(f"it has no sample {name!r}" if programs else _NO_SAMPLES)
    return programs[name]


def _engine(language: Language, backend: BackendSource, *, ready: int) -> Engine:
    """An engine that knows this language only; two CPUs, so that compilers are no test of patience."""
    plugins = Plugins()
    module = SimpleNamespace(xagent_register_languages=hookimpl(lambda: [language]))
    plugins.add("conformance", "xagent-core", "", lambda: module)
    settings = Settings(limits=replace(DEFAULT_LIMITS, cpus=2.0))
    return Engine(make_backend(backend), settings=settings, plugins=plugins, pool=PoolConfig(ready=ready))


async def _run(
    engine: Engine, language: Language, programs: Mapping[str, str], name: str, **arguments: object
) -> ExecutionResult:
    """Runs a sample, in an interpreter that stands by where the engine has such."""
    await engine.pool.warm(engine.plan(ExecutionRequest(code="", language=language.name)).spec)
    return await engine.execute(_sample(programs, name), language=language.name, **arguments)  # type: ignore[arg-type]


def _listed(samples: Mapping[str, str]) -> str:
    return "; ".join(f"`{name}`, which {does}" for name, does in samples.items())


def _source_name(language: Language) -> str:
    return language.prepare(ExecutionRequest(code="", language=language.name)).source_name


def _outcome(result: ExecutionResult) -> tuple[object, ...]:
    return (result.status, result.exit_code, result.phase, result.output, result.error)
