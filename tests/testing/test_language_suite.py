"""Each test of the languages' suite fails for a language that has the fault which it is there for."""

from __future__ import annotations

import inspect
import tomllib
from dataclasses import replace
from importlib import resources
from types import SimpleNamespace

import pytest

from xagent_core import Engine, Kernel, PoolConfig, XAgentError, hookimpl, load_plugins
from xagent_core.config import Settings
from xagent_core.plugins import Plugins
from xagent_core.testing import LanguageConformance, languages

pytestmark = [pytest.mark.engine("bubblewrap"), pytest.mark.slow]

PYTHON = load_plugins().languages["python"]
PROGRAMS = tomllib.loads(resources.files("xagent_lang_python").joinpath("samples.toml").read_text("utf-8"))


def by_shell(script):
    """Python in a shell that spoils it; it has a run of its own for each program."""
    return replace(PYTHON, run=("sh", "-c", script, "{source}"), standby=False)


FAULTS = [
    (replace(PYTHON, summary="two\nlines"), "a_line_sums_it_up"),
    (replace(PYTHON, executables=()), "its_description_is_whole"),
    (replace(PYTHON, aliases=("py", "py")), "its_description_is_whole"),
    (replace(PYTHON, extensions=("py",)), "its_description_is_whole"),
    (replace(PYTHON, hello="print('Hello')"), "hello"),
    (replace(by_shell("exec nowhere"), hello=""), "hello"),
    (by_shell('for n in 1 2 3 4; do sleep 60 & done; python3 "$0"'), "it_runs_with_the_least_that_it_needs"),
    (by_shell('python3 "$0" </dev/null'), "input_arrives_as_given"),
    (by_shell('python3 "$0" $@'), "arguments_arrive_as_given"),
    (by_shell('python3 "$0" "$@"; echo more'), "arguments_arrive_as_given"),
    (by_shell('SAMPLE=own python3 "$0"'), "the_environment_arrives_as_given"),
    (by_shell('python3 "$0" || exit 1'), "the_exit_code_is_the_programs_own"),
    (by_shell('cp "$0" /tmp; cd /tmp; python3 "$0"'), "files_go_in_and_come_back"),
    (by_shell('PYTHONIOENCODING=latin-1 python3 "$0"'), "text_runs_however_an_editor_left_it"),
    (by_shell('python3 "$0" 2>/dev/null'), "a_mistake_is_told_by_the_phase_that_finds_it"),
    (replace(PYTHON, build=("true",)), "a_mistake_is_told_by_the_phase_that_finds_it"),
    (by_shell('python3 - <"$0"'), "a_failure_names_its_line"),
    (replace(PYTHON, env={}), "what_was_printed_before_a_timeout_is_kept"),
    (replace(PYTHON, build=("true",)), "standing_by_changes_nothing"),
    (
        replace(by_shell('[ ! -p "$0" ] || set -- "$(cat "$0")"; exec python3 ${1+-c} "${1-"$0"}"'), standby=True),
        "standing_by_changes_nothing",
    ),
    (
        replace(PYTHON, session=Kernel(run=("python3", "-c", "{script}", "-"), script="xagent_lang_python:kernel.py")),
        "a_session_keeps_variables",
    ),
]  # fmt: skip
"""Languages with one fault each, and the test that must find it."""


async def run(name, language):
    """Runs one test of the suite as pytest does."""
    plugins = Plugins()
    module = SimpleNamespace(xagent_register_languages=hookimpl(lambda: [language]))
    plugins.add("faulty", "test", "0", lambda: module)
    test = getattr(LanguageConformance(), f"test_{name}")
    pool = PoolConfig(ready=1 if language.standby else 0)
    async with Engine("bubblewrap", settings=Settings(), pool=pool, plugins=with_backends(plugins)) as engine:
        given = {
            "engine": engine, "tested": language, "backend": "bubblewrap", "programs": PROGRAMS, "edit": "none",
        }  # fmt: skip
        arguments = {parameter: given[parameter] for parameter in inspect.signature(test).parameters}
        result = test(**arguments)
        if inspect.isawaitable(result):
            await result


def with_backends(plugins):
    """These plugins, and the installed backends."""
    plugins.backends = load_plugins().backends
    return plugins


@pytest.mark.parametrize(("language", "name"), FAULTS)
async def test_the_fault_is_found(language, name, monkeypatch):
    monkeypatch.setattr(languages, "_TIMEOUTS", (3.0,))
    with pytest.raises((AssertionError, XAgentError)):
        await run(name, language)


async def test_a_good_language_passes():
    for name in sorted({name for _, name in FAULTS}):
        await run(name, PYTHON)


@pytest.mark.parametrize(
    ("left_out", "name"),
    [("summary", "a_line_sums_it_up"), ("hello", "hello"), ("samples", "every_sample_is_there")],
)
async def test_what_a_language_leaves_out_is_skipped_by_its_name(left_out, name):
    """Ten lines are a whole plugin: they pass, and are told what was not tried."""
    with pytest.raises(pytest.skip.Exception, match=rf"^Language\({left_out}=\.\.\.\) is left out: "):
        await run(name, replace(PYTHON, **{left_out: ""}))


def test_a_missing_sample_is_named_with_what_it_must_do():
    programs = {name: text for name, text in PROGRAMS.items() if name != "exit"}
    with pytest.raises(AssertionError, match="prints `before` and a newline, then exits with code 7"):
        LanguageConformance().test_every_sample_is_there(PYTHON, programs)
