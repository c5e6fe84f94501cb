"""`xagent` itself: its help is quick and loads nothing, and no plugin can break it."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

COMMANDS = """
from xagent_core import CommandRegistration, hookimpl


def greeter():
    import typer

    app = typer.Typer()

    @app.command()
    def greet(name: str):
        typer.echo(f"hello {{name}}")

    return app


def failing():
    raise OSError("the disk is on fire")


@hookimpl
def xagent_register_commands():
    return [CommandRegistration(name={name!r}, summary="Do what {name} does.", factory={factory})]
"""


def install(xagent, module, name, factory="greeter"):
    xagent.install(f"xagent-{module}", module, COMMANDS.format(name=name, factory=factory))


def test_help_lists_every_command_with_its_summary(xagent):
    install(xagent, "greetings", "greet")
    done = xagent("--help")
    assert done.returncode == 0
    for words in (b"run        Run a program in a sandbox.", b"doctor ", b"greet      Do what greet does."):
        assert words in done.stdout
    assert b"cannot be used" not in done.stdout


def test_without_a_command_it_shows_its_help(xagent):
    assert b"Usage: xagent" in xagent().stdout + xagent().stderr


def test_version(xagent):
    assert xagent("--version").stdout == b"xagent 0.1.0\n"


def test_help_does_not_make_a_plugin_s_command(xagent):
    install(xagent, "greetings", "greet", factory="failing")
    assert b"Do what greet does." in xagent("--help").stdout


def test_a_plugin_s_command_runs(xagent):
    install(xagent, "greetings", "greet")
    assert xagent("greet", "you").stdout == b"hello you\n"


def test_a_plugin_s_command_that_cannot_be_made_is_blamed_on_its_distribution(xagent):
    install(xagent, "greetings", "greet", factory="failing")
    done = xagent("greet", "you")
    assert done.returncode == 125
    assert b"command greet: xagent-greetings cannot provide it: OSError: the disk is on fire" in done.stderr
    assert xagent("languages").returncode == 0


def test_two_plugins_with_one_command_are_both_named(xagent):
    install(xagent, "one", "greet")
    install(xagent, "two", "greet")
    done = xagent("greet", "you")
    assert done.returncode == 125
    assert b"provided by xagent-one and by xagent-two" in done.stderr
    shown = xagent("--help").stdout
    assert b"Do what greet does." not in shown
    assert b"Plugins that cannot be used: 1. See `xagent plugins list`." in shown


def test_a_plugin_cannot_replace_a_built_in_command(xagent, program):
    install(xagent, "impostor", "run", factory="failing")
    assert xagent("run", program(stdout="ok")).stdout == b"ok"
    assert b"command run is provided by xagent-core and by xagent-impostor" in xagent("plugins", "list").stdout


def test_a_plugin_that_cannot_be_imported_breaks_nothing(xagent):
    xagent.install("xagent-broken", "broken_plugin", "import nowhere_to_be_found")
    done = xagent("--help")
    assert done.returncode == 0
    assert b"Plugins that cannot be used: 1." in done.stdout


@pytest.mark.parametrize(("typed", "meant"), [("rum", b"run?"), ("gret", b"greet?")])
def test_a_command_that_does_not_exist_has_near_misses(xagent, typed, meant):
    install(xagent, "greetings", "greet")
    done = xagent(typed)
    assert done.returncode == 2
    assert b"Did you mean " + meant in done.stderr


def test_a_command_whose_plugin_is_missing_or_broken_says_where_commands_come_from(xagent):
    install(xagent, "greetings", "greet")
    xagent.install("xagent-broken", "broken_plugin", "import nowhere_to_be_found")
    done = xagent("dance")
    assert done.returncode == 2
    assert done.stderr.startswith(b"xagent: command dance: no installed plugin provides it. Installed: backends, ")
    assert b" greet, " in done.stderr
    assert b"Commands come from plugins, too: see `xagent plugins list`." in done.stderr
    assert b"Broken plugins: xagent-broken 2.5 (entry point broken_plugin): ModuleNotFoundError: " in done.stderr


def test_settings_that_cannot_be_read_are_an_error_with_a_place(xagent):
    (xagent.home / "config.toml").write_text("backend = ")
    done = xagent("languages", XAGENT_CONFIG="config.toml")
    assert done.returncode == 125
    assert done.stderr.startswith(b"xagent: config.toml: cannot be read")


HEAVY = ("asyncio", "pydantic", "rich", "docker", "podman", "langchain_core", "xagent_core.engine")


@pytest.mark.parametrize("args", [["--help"], ["--version"]])
def test_help_imports_nothing_heavy(xagent, args):
    # With every real plugin that is installed beside the tests.
    env = xagent.env | {"XAGENT_DISABLED_PLUGINS": "xagent-fake"}
    code = (
        "import sys\nfrom xagent_core.cli import main\n"
        f"sys.argv = ['xagent', *{args!r}]\n"
        "try: main()\nexcept SystemExit: pass\n"
        f"print('heavy:', sorted(sys.modules.keys() & set({HEAVY!r})))"
    )
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines()[-1] == "heavy: []"


def test_help_costs_a_few_starts_of_the_bare_interpreter(xagent):
    """A ratio, since machines differ: 200 ms are 20 starts where one takes 10. CPU time, since they are busy."""
    env = xagent.env | {"XAGENT_DISABLED_PLUGINS": "xagent-fake"}

    def seconds(*args):
        begin = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *args], env=env, stdout=subprocess.DEVNULL, timeout=60, check=True)
        end = resource.getrusage(resource.RUSAGE_CHILDREN)
        return end.ru_utime + end.ru_stime - begin.ru_utime - begin.ru_stime

    # In turn, so that a slow moment of the machine meets both.
    both = [(seconds("-m", "xagent_core.cli", "--help"), seconds("-c", "pass")) for _ in range(9)]
    assert min(shown for shown, _ in both) < 20 * min(bare for _, bare in both)
