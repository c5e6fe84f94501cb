"""Plugins that others write: built as distributions, installed with pip into a fresh environment, and used there.

Beside core and one backend it holds `plugins/_template`, a language written here, and a plugin that is broken.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
Run = Callable[..., subprocess.CompletedProcess[str]]

AWK = """
from xagent_core import Language, hookimpl

@hookimpl
def xagent_register_languages():
    return [Language(name="awk", extensions=(".awk",), executables=("awk",), run=("awk", "-f", "{source}"))]
"""


def write_distribution(folder: Path, name: str, code: str) -> str:
    module = name.replace("-", "_")
    (folder / name / module).mkdir(parents=True)
    (folder / name / module / "__init__.py").write_text(code)
    (folder / name / "pyproject.toml").write_text(f"""
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "{name}"
version = "3.2.1"
dependencies = ["xagent-core"]
[project.entry-points.xagent]
{name} = "{module}"
""")
    return str(folder / name)


def uv() -> str:
    return str(Path(sysconfig.get_path("scripts"), "uv"))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Runs a program of the fresh environment."""
    folder = tmp_path_factory.mktemp("third-party")
    venv = folder / "venv"
    wheels = folder / "wheels"
    # Wheels, since that is what a third party installs: what is not packed into them is not there.
    sources = [
        str(ROOT),
        str(ROOT / "plugins/backends/bubblewrap"),
        str(ROOT / "plugins/_template"),
        write_distribution(folder, "xagent-lang-awk", AWK),
        write_distribution(folder, "xagent-broken", "import a_module_that_nobody_has"),
    ]
    for source in sources:
        subprocess.run([uv(), "build", "-q", "--wheel", "-o", wheels, source], check=True)
    subprocess.run([uv(), "venv", "-q", "-p", sys.executable, venv], check=True)
    subprocess.run(
        [uv(), "pip", "install", "-q", "-p", venv, *wheels.glob("*.whl"), "xagent-core[testing]"], check=True
    )

    def run_in_venv(program: str, *args: str, **options: object) -> subprocess.CompletedProcess[str]:
        env = os.environ | {"XAGENT_BACKEND": "bubblewrap"}
        return subprocess.run(
            [venv / "bin" / program, *args], env=env, cwd=folder, capture_output=True, text=True, check=False, **options
        )

    return run_in_venv


def test_their_languages_are_listed(run):
    done = run("xagent", "languages", "--json")
    assert done.returncode == 0, done.stderr
    assert {"awk", "perl"} <= {language["name"] for language in json.loads(done.stdout)}


@pytest.mark.engine("bubblewrap")
def test_their_languages_run(run, tmp_path):
    program = tmp_path / "sum.awk"
    program.write_text("{ sum += $1 } END { print sum }")
    done = run("xagent", "run", str(program), input="1\n41\n")
    assert (done.returncode, done.stdout) == (0, "42\n"), done.stderr


def test_a_broken_plugin_is_named_with_its_distribution_version_and_cause(run):
    done = run("xagent", "plugins", "list", "--json")
    assert "xagent-broken" in done.stdout
    assert "3.2.1" in done.stdout
    assert "a_module_that_nobody_has" in done.stdout


def test_the_error_for_a_missing_name_tells_of_the_broken_plugin(run):
    done = run("xagent", "run", "--language", "cobol", "--code", "", stdin=subprocess.DEVNULL)
    assert done.returncode == 2
    assert "xagent-broken 3.2.1" in done.stderr
    assert "a_module_that_nobody_has" in done.stderr


@pytest.mark.engine("bubblewrap")
def test_the_tests_of_the_template_pass(run):
    tests = ROOT / "plugins/_template/tests"
    done = run("pytest", "-q", "-o", "asyncio_mode=auto", "-p", "no:cacheprovider", "--rootdir", str(tests), str(tests))
    assert done.returncode == 0, done.stdout
    passed = re.search(r"(\d+) passed, 2 skipped", done.stdout)
    assert passed, done.stdout
    assert int(passed[1]) > 2 + 15, "the conformance suite was not run"
