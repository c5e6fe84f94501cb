"""What a Go program is given; that it compiles is tried by the suite over all languages, in sandboxes."""

from __future__ import annotations

import subprocess

import pytest
from xagent_lang_go.language import GO

from xagent_core.types import ExecutionRequest, Limits


@pytest.mark.parametrize(("cpus", "threads"), [(None, "2"), (0.5, "2"), (2.5, "3"), (8, "8")])
def test_it_has_as_many_threads_as_cpus_and_at_least_two(cpus, threads):
    request = ExecutionRequest(code="", language="go", limits=Limits(cpus=cpus))

    assert GO.prepare(request).env["GOMAXPROCS"] == threads


def test_the_callers_environment_goes_before():
    request = ExecutionRequest(code="", language="go", env={"GOMAXPROCS": "1"})

    assert GO.prepare(request).env["GOMAXPROCS"] == "1"


@pytest.mark.parametrize("script", [GO.build[2], GO.packages.setup], ids=["build", "setup"])
def test_its_scripts_are_posix(script):
    done = subprocess.run(["sh", "-n"], input=script, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")
