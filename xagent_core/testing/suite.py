"""What makes a class a published suite: tests that a plugin's author inherits, and cannot lose without a word.

    class QueueConformance(Conformance, suite=True, fixtures=("queue",)):
        queue = required_fixture("a task queue's name, or what makes one")

        async def test_a_job_has_a_result(self, queue): ...

A subclass of a suite is an author's:

    @waive("test_a_job_has_a_result", reason="the server of this queue keeps no results")
    class TestMyQueue(QueueConformance):
        queue = fixed("mine")

A fixture that has to do something first is written out, as a class method of class scope:

        @pytest.fixture(scope="class")
        @classmethod  # pytest wants it so for every scope but a function's
        def queue(cls, my_server):
            return "mine", {"url": my_server.url}

It is collected whatever its name. It may define the suite's fixtures, and tests and fixtures of its own. Whatever else
of the suite it replaces, and a mark by which pytest would not run the suite or not heed how it ends, is an error when
the class is made, and again when pytest collects it. Tests that are
coroutines share one event loop for each class, whatever pytest-asyncio's mode is; so do fixtures with
`@pytest_asyncio.fixture(scope="class", loop_scope="class")`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final, TypeVar

import pytest

from xagent_core.errors import PluginError

__all__ = ["SWITCHES", "Conformance", "fixed", "is_suite", "problems", "required_fixture", "switched_off", "waive"]

C = TypeVar("C", bound="type[Conformance]")

_MISSING: Final = object()
SWITCHES: Final = ("skip", "skipif", "xfail")
"""The marks by which pytest skips a test or lets it fail."""


class Conformance:
    """Base of all suites.

    Attributes:
        suite_parts: What the suites define, by name, without the fixtures that authors give.
        suite_switches: The marks in `SWITCHES` that the suites themselves have on their parts, by name.
        suite_waivers: The reasons of waived tests, by name.
    """

    __test__ = False
    suite_parts: ClassVar[Mapping[str, Any]] = {}
    suite_switches: ClassVar[Mapping[str, list[str]]] = {}
    suite_waivers: ClassVar[Mapping[str, str]] = {}

    def __init_subclass__(cls, *, suite: bool = False, fixtures: tuple[str, ...] = (), **rest: Any) -> None:
        """Makes a suite, or checks an author's class.

        Args:
            suite: Whether this is a suite, which is inherited, and not run itself.
            fixtures: What the authors' classes may define in place of the suite.
            **rest: For further base classes.

        Raises:
            PluginError: An author's class replaces a part of its suite, or switches it off.
        """
        super().__init_subclass__(**rest)
        if suite:
            for name, part in vars(cls).items():
                if name.startswith("test_") and inspect.iscoroutinefunction(part):
                    pytest.mark.asyncio(loop_scope="class")(part)
            own = {name: part for name, part in vars(cls).items() if not name.startswith("__")}
            inherited = {name: part for base in reversed(cls.__mro__[1:]) for name, part in _parts_of(base).items()}
            cls.suite_parts = {name: part for name, part in (inherited | own).items() if name not in fixtures}
            cls.suite_switches = {name: switched_off(part) for name, part in cls.suite_parts.items()}
            return
        cls.__test__ = vars(cls).get("__test__", True)
        found = problems(cls)
        if found:
            raise PluginError(cls.__name__, "; ".join(found), 'Waive what cannot hold: @waive("test_...", reason=...)')


def is_suite(cls: type[Conformance]) -> bool:
    """Whether a class is a suite, and not an author's."""
    return cls is Conformance or "suite_switches" in vars(cls)


def switched_off(marked: object) -> list[str]:
    """The names of a function's or a class's own marks that are in `SWITCHES`."""
    marks = getattr(marked, "__dict__", {}).get("pytestmark", [])
    names = [mark.name for mark in (marks if isinstance(marks, list) else [marks])]
    return [name for name in names if name in SWITCHES]


def problems(suite: type[Conformance]) -> list[str]:
    """What an author's class has done to its suite without saying so; empty where nothing was."""
    changed = [
        f"it replaces {name}, a part of its suite"
        for name, part in suite.suite_parts.items()
        if inspect.getattr_static(suite, name, _MISSING) is not part
    ]
    if not suite.__test__:
        changed.append("it is switched off by __test__")
    authors = [base for base in suite.__mro__ if issubclass(base, Conformance) and not is_suite(base)]
    changed += [f"it is marked {mark}" for base in authors for mark in switched_off(base)]
    changed += [
        f"{name} is marked {', '.join(marks)}"
        for name, part in suite.suite_parts.items()
        if (marks := switched_off(part)) != suite.suite_switches[name]
    ]
    return changed


def waive(test: str, *, reason: str) -> Callable[[C], C]:
    """Lets a class pass without one test of its suite, which is then reported as skipped with the reason.

    Args:
        test: The test's name.
        reason: Why it cannot hold.

    Returns:
        A decorator of the class.

    Raises:
        PluginError: There is no such test, or the reason is empty.
    """

    def decorate(suite: C) -> C:
        if not test.startswith("test_") or test not in suite.suite_parts:
            tests = ", ".join(name for name in suite.suite_parts if name.startswith("test_"))
            raise PluginError(suite.__name__, f"its suite has no test {test!r} to waive", f"It has {tests}.")
        if not reason.strip():
            raise PluginError(suite.__name__, f"{test} was waived without a reason", "Write why it cannot hold.")
        suite.suite_waivers = {**suite.suite_waivers, test: reason}
        return suite

    return decorate


def fixed(value: object) -> Any:
    """Makes a fixture of class scope that gives a value which is known beforehand.

    Args:
        value: What it gives.
    """
    method: Any = classmethod(lambda _cls: value)
    return pytest.fixture(scope="class")(method)


def required_fixture(what: str) -> Any:
    """A fixture of class scope that the authors' classes must define.

    Args:
        what: What it gives, for the error where it is missing.
    """

    def missing(_cls: type[Conformance], request: pytest.FixtureRequest) -> None:
        name, place = request.fixturename, request.node.name
        pytest.fail(f"{place} must define the class-scoped fixture `{name}`: {what}", pytrace=False)

    method: Any = classmethod(missing)
    return pytest.fixture(scope="class")(method)


def _parts_of(base: type) -> Mapping[str, Any]:
    parts: Mapping[str, Any] = vars(base).get("suite_parts", {})
    return parts
