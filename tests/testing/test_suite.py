"""How a suite is kept whole: what an author may change, must give a reason for, and cannot do without a word."""

from __future__ import annotations

import pytest

from xagent_core import PluginError
from xagent_core.testing.suite import Conformance, waive

SUITE = """
import asyncio
import pytest
from xagent_core.testing.suite import Conformance, required_fixture, waive

class Suite(Conformance, suite=True, fixtures=("number",)):
    number = required_fixture("a number")
    loops = set()

    def test_even(self, number):
        assert number % 2 == 0

    @pytest.mark.parametrize("least", [1, 2])
    async def test_large(self, number, least):
        self.loops.add(id(asyncio.get_running_loop()))
        assert number > least

    async def test_one_loop(self, number):
        assert self.loops <= {id(asyncio.get_running_loop())}
"""
GIVES = """
    @pytest.fixture(scope="class")
    @classmethod
    def number(cls):
        return {}
"""


@pytest.fixture(autouse=True)
def only_what_is_tested(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")


def run(pytester: pytest.Pytester, code: str, *options: str) -> pytest.RunResult:
    pytester.makepyfile(SUITE + code)
    plugins = ("-p", "xagent_core.testing.pytest_plugin", "-p", "pytest_asyncio.plugin")
    # In one process with the outer pytest, modules are there already.
    warnings = ("-Werror", "-Wignore::pytest.PytestAssertRewriteWarning")
    return pytester.runpytest_inprocess(
        "-rs", "-o", "asyncio_default_fixture_loop_scope=class", *warnings, *plugins, *options
    )


def test_the_suite_alone_runs_nothing(pytester):
    run(pytester, "").assert_outcomes()


@pytest.mark.parametrize("mode", ["auto", "strict"])
def test_a_class_of_any_name_that_gives_the_fixture_runs_all_in_one_loop(pytester, mode):
    run(pytester, "class Mine(Suite):" + GIVES.format(4), f"--asyncio-mode={mode}").assert_outcomes(passed=4)


def test_what_is_wrong_fails(pytester):
    run(pytester, "class TestMine(Suite):" + GIVES.format(1)).assert_outcomes(passed=1, failed=3)


def test_a_missing_fixture_is_named_with_what_it_must_give(pytester):
    result = run(pytester, "class TestMine(Suite): pass")
    result.assert_outcomes(errors=4)
    result.stdout.fnmatch_lines("*TestMine must define the class-scoped fixture `number`: a number*")


def test_a_waived_test_is_skipped_with_the_reason(pytester):
    waived = '@waive("test_large", reason="small is beautiful")\n@waive("test_even", reason="odd")\n'
    result = run(pytester, f"{waived}class TestMine(Suite):" + GIVES.format(1))
    result.assert_outcomes(passed=1, skipped=3)
    result.stdout.fnmatch_lines("*waived: small is beautiful*")


@pytest.mark.parametrize(
    "changed",
    [
        "    def test_even(self): pass",
        "    test_even = None",
        "    loops = set()",
        "    __test__ = False",
        "    pass\nTestMine.test_even = lambda self: None",
        "    pass\ndel Suite.test_even",
        "    pass\nTestMine.__test__ = False\nclass TestAgain(TestMine): test_even = None",
        "    pass\nTestMine.__test__ = False",
        "    pass\ndel TestMine.__test__",
        "    pass\n@waive('test_odd', reason='there is none')\nclass TestAgain(TestMine): pass",
        "    pass\n@waive('test_even', reason=' ')\nclass TestAgain(TestMine): pass",
    ],
)
def test_a_part_of_the_suite_cannot_be_lost_without_a_word(pytester, changed):
    run(pytester, f"class TestMine(Suite):\n{GIVES.format(4)}\n{changed}").assert_outcomes(errors=1)


@pytest.mark.parametrize(
    ("marked", "told"),
    [
        ("    pytestmark = pytest.mark.skip", "TestMine: it is marked skip"),
        ("    pytestmark = [pytest.mark.asyncio, pytest.mark.xfail(strict=False)]", "TestMine: it is marked xfail"),
        ("    pass\npytest.mark.skipif(True, reason='')(TestMine)", "TestMine: it is marked skipif"),
        ("    pass\npytest.mark.skip(TestMine)\nclass TestAgain(TestMine): pass", "TestAgain: it is marked skip"),
        ("    pass\npytest.mark.skip(TestMine.test_even)", "TestMine: test_even is marked skip"),
        ("    pass\npytestmark = pytest.mark.skip", "TestMine: what it is in is marked skip"),
        ("    pass\n@pytest.mark.skip\nclass TestAround: Inner = TestMine", "Inner: what it is in is marked skip"),
    ],
)
def test_a_mark_that_skips_it_or_lets_it_fail_is_refused(pytester, marked, told):
    result = run(pytester, f"class TestMine(Suite):\n{GIVES.format(4)}\n{marked}")
    result.stdout.fnmatch_lines(f"*{told}*")
    assert result.parseoutcomes()["errors"] == 1


def test_a_suite_may_mark_its_own_tests_and_an_author_what_is_the_authors(pytester):
    code = """
class Another(Suite, suite=True):
    @pytest.mark.skip(reason="not yet")
    def test_later(self): pass

class TestMine(Another):
    @pytest.mark.xfail(reason="mine", strict=True)
    def test_mine(self): assert False
"""
    run(pytester, code + GIVES.format(4)).assert_outcomes(passed=4, skipped=1, xfailed=1)


def test_tests_of_ones_own_are_added(pytester):
    own = "    def test_mine(self, number): assert number == 4"
    run(pytester, f"class TestMine(Suite):\n{GIVES.format(4)}\n{own}").assert_outcomes(passed=5)


def test_a_suite_of_several_keeps_what_each_has():
    class One(Conformance, suite=True):
        def test_one(self):
            pass

    class Two(Conformance, suite=True):
        def test_two(self):
            pass

    class Both(One, Two, suite=True):
        pass

    with pytest.raises(PluginError, match=r"it replaces test_two, a part of its suite; it replaces test_one"):

        class TestBoth(Both):
            test_one = test_two = None

    with pytest.raises(PluginError, match=r"no test 'test_three' to waive\. It has test_\w+, test_\w+\."):
        waive("test_three", reason="x")(Both)
