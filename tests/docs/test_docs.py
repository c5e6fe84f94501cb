"""What README.md and docs/plugins.md say is true: their code runs, and their tables are complete."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sysconfig
import types
import typing
from dataclasses import dataclass, fields
from pathlib import Path

import pytest

from xagent_core import Engine, Limits, hookspecs, load_plugins
from xagent_core.plugins import Plugins
from xagent_core.types import Status

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PLUGINS = ROOT / "docs/plugins.md"
_BLOCK = re.compile(r"(?ms)(?P<unrun>^<!-- not run: .+? -->\n)?^```(?P<language>\w+)\n(?P<text>.*?)^```$")


@dataclass(frozen=True)
class Block:
    """A fenced code block that is meant to run; it is called by its file and line."""

    name: str
    text: str


def blocks(file: Path, language: str) -> list[Block]:
    text = file.read_text("utf-8")
    return [
        Block(f"{file.name}:{text[: match.start('text')].count(chr(10)) + 1}", match["text"])
        for match in _BLOCK.finditer(text)
        if match["language"] == language and not match["unrun"]
    ]


def is_plugin(block: Block) -> bool:
    return "@hookimpl" in block.text


BOOTSTRAPS = [block for block in blocks(README, "sh") if "venv" in block.text]
PROGRAMS = [block for block in blocks(README, "python") if not is_plugin(block)]
PLUGIN_MODULES = [block for file in (README, PLUGINS) for block in blocks(file, "python") if is_plugin(block)]
COMMANDS = [
    pytest.param(line, id=f"{block.name}-{number}")
    for block in blocks(README, "sh")
    if block not in BOOTSTRAPS
    for number, line in enumerate(block.text.splitlines())
]


def load(block: Block, plugins: Plugins) -> None:
    module = types.ModuleType("documented")
    exec(compile(block.text, block.name, "exec"), vars(module))
    plugins.add("documented", block.name, "1.0", lambda: module)


def test_each_folder_of_plugins_holds_distributions_alone():
    """As `pip install ./plugins/languages/*` takes them."""
    folders = [folder for folder in (ROOT / "plugins").iterdir() if folder.is_dir() and folder.name[0] != "_"]
    inside = [path for folder in folders for path in folder.iterdir()]
    assert [path for path in inside if not (path / "pyproject.toml").is_file()] == []


def test_the_two_first_commands_differ_only_in_what_nox_runs():
    demo, test = (block.text.strip() for block in BOOTSTRAPS)
    assert demo == f"{test} -s demo"
    assert test.endswith("/nox")


def test_ci_types_the_command_of_the_readme():
    ci = (ROOT / ".ci/run").read_text("utf-8")
    assert [line.strip() for line in ci.splitlines() if "venv" in line] == [BOOTSTRAPS[1].text.strip()]


@pytest.mark.engine("bubblewrap")
@pytest.mark.parametrize("block", PROGRAMS, ids=lambda block: block.name)
def test_python_in_the_readme_runs(block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(block.text, block.name, "exec"), {"__name__": "__main__"})


@pytest.mark.engine("bubblewrap")
@pytest.mark.parametrize("command", COMMANDS)
def test_commands_in_the_readme_run(command, tmp_path):
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    path = f"{sysconfig.get_path('scripts')}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-c", command],
        cwd=tmp_path,
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout


@pytest.mark.parametrize("block", PLUGIN_MODULES, ids=lambda block: block.name)
def test_plugins_in_the_docs_load(block):
    plugins = Plugins()
    load(block, plugins)
    assert plugins.failures == []
    assert [plugin.name for plugin in plugins.loaded] == ["documented"]


@pytest.mark.engine("bubblewrap")
@pytest.mark.parametrize(
    "block", [block for block in blocks(PLUGINS, "python") if "Conformance" in block.text], ids=lambda block: block.name
)
def test_suites_in_the_docs_run(pytester, block):
    pytester.makepyfile(block.text)
    options = ("-p", "xagent_core.testing.pytest_plugin", "-p", "pytest_asyncio.plugin", "--disable-plugin-autoload")
    options += ("-o", "asyncio_default_fixture_loop_scope=function")
    # Each suite is run as a whole elsewhere: here it is enough that it runs.
    result = pytester.runpytest_inprocess(*options, "-k", "hello and bubblewrap or told_with_its_remedy or kernel")
    counts = result.parseoutcomes()
    assert counts.get("passed", 0) + counts.get("skipped", 0) >= 1
    assert not counts.keys() & {"failed", "errors", "error"}


@pytest.mark.slow
@pytest.mark.engine("bubblewrap")
@pytest.mark.parametrize("command", [line for block in blocks(PLUGINS, "sh") for line in block.text.splitlines()])
def test_commands_in_the_plugins_page_run(command):
    path = f"{sysconfig.get_path('scripts')}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command, shell=True, env=os.environ | {"PATH": path}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.engine("bubblewrap")
async def test_the_language_in_the_docs_runs_and_the_observers_see_it(caplog):
    plugins = load_plugins()
    for block in blocks(PLUGINS, "python"):
        if re.search("def xagent_(register_languages|before_execute|after_execute)", block.text):
            load(block, plugins)
    caplog.set_level("INFO", logger="audit")
    async with Engine("bubblewrap", plugins=plugins) as engine:
        result = await engine.execute("{ sum += $1 } END { print sum }", language="awk", stdin="1\n41\n")
    assert (result.status, result.output) == ("success", "42\n")
    assert caplog.messages == ["awk on bubblewrap: 31 characters", "ended: success"]


def test_every_hook_has_a_heading():
    headings = set(re.findall(r"^## (xagent_\w+)$", PLUGINS.read_text("utf-8"), re.MULTILINE))
    assert headings == {name for name in vars(hookspecs) if name.startswith("xagent_")}


def test_every_status_is_in_the_readme():
    assert set(typing.get_args(Status)) <= set(re.findall(r"^\| `(\w+)` \| ", README.read_text("utf-8"), re.MULTILINE))


def test_every_limit_is_in_the_readme():
    text = README.read_text("utf-8")
    own_arguments = {"memory": "memory_limit", "cpus": "cpu_limit", "timeout": "timeout"}
    for field in fields(Limits):
        assert f"`{own_arguments.get(field.name, f'limits=Limits({field.name}=...)')}`" in text


def test_links_between_the_docs_lead_somewhere():
    for file in (README, PLUGINS):
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", file.read_text("utf-8")):
            assert (file.parent / target).exists(), f"{file.name}: {target}"
