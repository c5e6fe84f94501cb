"""The marker `engine`: what a test's author sees where an engine is there, is not there, and must be there."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

import xagent_core.selection
from xagent_core import Backend, BackendRegistration, Probe, hookimpl
from xagent_core.plugins import Plugins


class Stub(Backend):
    """Answers `probe`, in the end always the same, and is not asked for more."""

    def __init__(self, *probes: Probe) -> None:
        self.name, self._probes = "stub", list(probes)

    async def probe(self):
        return self._probes.pop(0) if len(self._probes) > 1 else self._probes[0]

    async def capabilities(self):
        raise NotImplementedError

    async def start(self, spec):
        raise NotImplementedError

    async def reap(self):
        raise NotImplementedError

    async def aclose(self):
        pass


def registration(name: str, *probes: Probe) -> BackendRegistration:
    return BackendRegistration(name=name, summary="", factory=lambda _options: Stub(*probes))


@pytest.fixture(autouse=True)
def three_engines(monkeypatch: pytest.MonkeyPatch):
    """One engine that works, one that does not, and one that does when it is asked again."""
    plugins = Plugins()
    asleep = Probe(available=False, detail="the daemon sleeps", fix="Wake it.")
    awake = Probe(available=True)
    backends = [registration("awake", awake), registration("asleep", asleep), registration("slow", asleep, awake)]
    module = SimpleNamespace(xagent_register_backends=hookimpl(lambda: backends))
    plugins.add("stub", "stub", "1", lambda: module)
    monkeypatch.setattr(xagent_core.selection, "load_plugins", lambda _disabled=(): plugins)
    monkeypatch.delenv("XAGENT_REQUIRE_ENGINES", raising=False)
    # Only the plugin that is tested: to import all the others again takes seconds.
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")


def run(pytester: pytest.Pytester, *engines: str) -> pytest.RunResult:
    pytester.makepyfile(f"import pytest\n@pytest.mark.engine(*{engines!r})\ndef test_it(): pass")
    return pytester.runpytest("-rs", "--strict-markers", "-p", "xagent_core.testing.pytest_plugin")


def test_it_runs_where_the_engine_answers(pytester):
    run(pytester, "awake").assert_outcomes(passed=1)


def test_it_is_skipped_with_the_reason_where_the_engine_is_missing(pytester):
    result = run(pytester, "awake", "asleep")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines("*engine asleep is needed: asleep: the daemon sleeps. Wake it.*")


def test_it_fails_where_a_missing_engine_is_required(pytester, monkeypatch):
    monkeypatch.setenv("XAGENT_REQUIRE_ENGINES", "awake, asleep")
    result = run(pytester, "asleep")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines("*XAGENT_REQUIRE_ENGINES lists it*")


def test_one_that_is_required_is_asked_again(pytester, monkeypatch):
    run(pytester, "slow").assert_outcomes(skipped=1)
    monkeypatch.setenv("XAGENT_REQUIRE_ENGINES", "slow")
    run(pytester, "slow").assert_outcomes(passed=1)


def test_only_the_engines_listed_are_required(pytester, monkeypatch):
    monkeypatch.setenv("XAGENT_REQUIRE_ENGINES", "awake")
    run(pytester, "asleep").assert_outcomes(skipped=1)


def test_an_engine_that_no_plugin_provides_is_missing(pytester):
    result = run(pytester, "nowhere")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines("*no installed plugin provides it*")
