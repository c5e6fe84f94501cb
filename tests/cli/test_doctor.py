"""`xagent doctor`: one command that says what is healthy, and what to do about the rest."""

from __future__ import annotations

import json
import re

import pytest

EXTRA = """
from xagent_core import BackendRegistration, Language, SandboxStartError, hookimpl
from xagent_core.testing.fakes import FakeBackend


@hookimpl
def xagent_register_languages():
    return [Language(name="extra", run=("x",), executables=("x",), extensions=(".x",), hello={hello!r})]
"""


def shown(done):
    return [" ".join(line.split()) for line in done.stdout.decode().splitlines()]


def test_it_runs_a_program_in_every_language_and_is_healthy(xagent):
    done = xagent("doctor")
    assert done.returncode == 0
    assert shown(done)[-1] == "Healthy."
    assert any(re.fullmatch(r"plain ok, \d+\.\d\d s", line) for line in shown(done)), shown(done)
    assert "memory: cgroup v9" in shown(done)
    assert "asleep: the daemon sleeps. Wake it." in shown(done)  # not there is not broken


def test_as_json(xagent):
    document = json.loads(xagent("doctor", "--json").stdout)
    assert document["healthy"] is True
    fake = next(backend for backend in document["backends"] if backend["name"] == "fake")
    assert [(trial["language"], trial["state"]) for trial in fake["languages"]] == [("built", "ok"), ("plain", "ok")]
    assert document["missing"] == ["asleep: the daemon sleeps. Wake it."]


def test_quick_runs_nothing(xagent):
    document = json.loads(xagent("doctor", "--quick", "--json").stdout)
    assert document["healthy"] is True
    assert all(backend["languages"] == [] for backend in document["backends"])


def test_a_program_that_does_not_say_hello_is_broken(xagent):
    xagent.install("xagent-extra", "extra", EXTRA.format(hello='{"stdout": "good bye", "exit_code": 4}'))
    done = xagent("doctor")
    assert done.returncode == 1
    assert "fake, extra: error (exit code 4): good bye" in shown(done)
    assert shown(done)[-1] == "Not healthy."


def test_a_broken_plugin_is_not_healthy(xagent):
    xagent.install("xagent-broken", "broken_plugin", "import nowhere_to_be_found")
    done = xagent("doctor", "--quick")
    assert done.returncode == 1
    assert any(line.startswith("xagent-broken 2.5 (entry point broken_plugin)") for line in shown(done))


def test_nothing_that_works_is_not_healthy_and_says_what_to_install(xagent):
    off = f"{xagent.env['XAGENT_DISABLED_PLUGINS']},xagent-fake"
    done = xagent("doctor", XAGENT_DISABLED_PLUGINS=off)
    assert done.returncode == 1
    assert any("no sandbox backend is installed. `pip install" in line for line in shown(done))


NO_TOOLS = """
from xagent_core import BackendRegistration, SandboxStartError, hookimpl
from xagent_core.testing.fakes import FakeBackend

ERROR = SandboxStartError("bare", "no program 'plain' was found", {fix!r})

@hookimpl
def xagent_register_backends():
    return [BackendRegistration(name="bare", summary="", factory=lambda o: FakeBackend(name="bare", start_error=ERROR))]
"""


@pytest.mark.parametrize(("fix", "status"), [("Install it: apt install plain.", 0), ("", 1)])
def test_what_can_be_installed_is_missing_and_what_has_no_remedy_is_broken(xagent, fix, status):
    xagent.install("xagent-bare", "bare", NO_TOOLS.format(fix=fix))
    done = xagent("doctor")
    assert done.returncode == status
    assert any(line.startswith("bare, plain: no program 'plain' was found") for line in shown(done))
