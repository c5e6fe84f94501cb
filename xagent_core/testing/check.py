"""Runs the suites over what an installed plugin registers: a test file as its author would write it, and pytest."""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
import unittest.mock
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

import pytest
import pytest_asyncio

from xagent_core.errors import PluginError
from xagent_core.plugins import Plugins
from xagent_core.testing.pytest_plugin import REQUIRE_ENGINES

__all__ = ["SUITES", "Checked", "Subject", "find_subjects", "run_suites"]

SUITES: Final = {
    "backend": "BackendConformance",
    "language": "LanguageConformance",
    "tool": "ToolConformance",
    "queue": "QueueConformance",
}
"""The suite of each kind of registration that has one."""

_FILE: Final = """from xagent_core.testing import fixed, {suites}
"""
_CLASS: Final = """

class Test{number}({suite}):
"""
_FIXTURE: Final = "    {name} = fixed({value!r})\n"
_SETTINGS: Final = "[pytest]\nasyncio_mode = strict\nasyncio_default_fixture_loop_scope = function\n"
_NOT_RUN: Final = (pytest.ExitCode.INTERNAL_ERROR, pytest.ExitCode.USAGE_ERROR, pytest.ExitCode.NO_TESTS_COLLECTED)


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """A registration that a suite is run over.

    Attributes:
        kind: One of `SUITES`.
        name: The registered name.
        distribution: What provides it.
        fixtures: What the suite is given beside it.
    """

    kind: str
    name: str
    distribution: str
    fixtures: Mapping[str, object] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Checked:
    """What became of one test.

    Attributes:
        subject: What it tested.
        test: Its name, as a sentence.
        result: Whether it passed; a waived test, and one for which something is missing, is skipped.
        reason: Why it was skipped, or how it failed.
        seconds: How long it took.
    """

    subject: Subject
    test: str
    result: Literal["passed", "failed", "skipped"]
    reason: str
    seconds: float


def find_subjects(plugins: Plugins, name: str) -> list[Subject]:
    """What a name stands for that can be checked.

    Args:
        plugins: What is installed.
        name: Of a distribution or an entry point, for all that it provides; else of one backend, language, tool or
            queue.

    Raises:
        PluginError: It is broken, is not there, or provides nothing that has a suite.
    """
    for broken in plugins.failures:
        if name in (broken.distribution, broken.name):
            raise PluginError(f"plugin {name}", f"it cannot be used: {broken.cause}", "Mend or upgrade it.")
    for names in ("distribution", "name"):
        found = [plugin for plugin in plugins.loaded if getattr(plugin, names) == name]
        if found:
            break
    # Whoever provides it: several may share a distribution's name for an entry point.
    provided = [
        (words.split(" ", 1), plugin.distribution) for plugin in found or plugins.loaded for words in plugin.provides
    ]
    subjects = [
        Subject(kind=kind, name=registered, distribution=distribution)
        for (kind, registered), distribution in provided
        if kind in SUITES and (found or registered == name)
    ]
    if subjects:
        return subjects
    if found:
        raise PluginError(f"plugin {name}", f"it provides no {', '.join(SUITES)}", "There is no suite for the rest.")
    installed = ", ".join(sorted({plugin.distribution for plugin in plugins.loaded})) or "none"
    raise PluginError(f"plugin {name}", "nothing of that name is installed", f"Installed: {installed}.")


def run_suites(subjects: Sequence[Subject], *, tell: Callable[[Checked], None] = lambda _test: None) -> list[Checked]:
    """Runs the suite of each subject with pytest, in this process.

    Args:
        subjects: From `find_subjects`.
        tell: Is given each entry as soon as it is known, while pytest has taken the process's output for its own.

    Returns:
        One entry for each test, in the order in which they ran.

    Raises:
        PluginError: pytest could not run them.
        KeyboardInterrupt: It was interrupted; all that it had made is gone.
    """
    recorder = _Recorder(subjects, tell)
    backends = [subject.name for subject in subjects if subject.kind == "backend"]
    backends += [str(subject.fixtures["backend"]) for subject in subjects if "backend" in subject.fixtures]
    environment = {REQUIRE_ENGINES: ",".join(backends), "PYTEST_ADDOPTS": ""}
    said = io.StringIO()
    with tempfile.TemporaryDirectory(prefix="xagent-check-") as folder:
        Path(folder, "pytest.ini").write_text(_SETTINGS, "utf-8")
        file = Path(folder, "test_plugin.py")
        file.write_text(_test_file(subjects), "utf-8")
        plugins = (
            "--disable-plugin-autoload",
            "-p",
            "xagent_core.testing.pytest_plugin",
            "-p",
            f"{pytest_asyncio.__name__}.plugin",
        )
        options = ("-q", "-p", "no:cacheprovider", "--rootdir", folder, "-c", str(Path(folder, "pytest.ini")))
        own = ("--basetemp", str(Path(folder, "tmp")))
        with unittest.mock.patch.dict(os.environ, environment), contextlib.redirect_stdout(said):
            code = pytest.main([*plugins, *options, *own, str(file)], plugins=[recorder])
    if recorder.interrupted:
        raise KeyboardInterrupt
    if code in _NOT_RUN:
        raise PluginError("pytest", f"the suites could not be run: {said.getvalue().strip()}")
    if code == pytest.ExitCode.INTERRUPTED and not recorder.checked:
        raise PluginError("pytest", f"the suites could not be collected: {said.getvalue().strip()}")
    return recorder.checked


def _test_file(subjects: Sequence[Subject]) -> str:
    text = _FILE.format(suites=", ".join(sorted({SUITES[subject.kind] for subject in subjects})))
    for number, subject in enumerate(subjects):
        text += _CLASS.format(number=number, suite=SUITES[subject.kind])
        for name, value in {subject.kind: subject.name, **subject.fixtures}.items():
            text += _FIXTURE.format(name=name, value=value)
    return text


class _Recorder:
    """A pytest plugin that keeps what became of each test."""

    def __init__(self, subjects: Sequence[Subject], tell: Callable[[Checked], None]) -> None:
        self._subjects = subjects
        self._tell = tell
        self._seconds = 0.0
        self.checked: list[Checked] = []
        self.interrupted = False

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Tells a signal from pytest's own way to end after errors."""
        self.interrupted = not isinstance(excinfo.value, pytest.Session.Interrupted)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Takes a test's own report, and that of a fixture which failed before or after it."""
        self._seconds += report.duration
        if report.when != "call" and report.passed:
            return
        _, suite, test = report.nodeid.split("::")
        self.checked.append(
            Checked(
                subject=self._subjects[int(suite.removeprefix("Test"))],
                test=test.removeprefix("test_").replace("_", " "),
                result=report.outcome,
                reason="" if report.passed else _reason(report),
                seconds=round(self._seconds, 3),
            )
        )
        self._seconds = 0.0
        self._tell(self.checked[-1])


def _reason(report: pytest.TestReport) -> str:
    if report.skipped and isinstance(report.longrepr, tuple):
        return str(report.longrepr[2]).removeprefix("Skipped: ")
    crash = getattr(report.longrepr, "reprcrash", None)
    return str(crash.message) if crash is not None else report.longreprtext
