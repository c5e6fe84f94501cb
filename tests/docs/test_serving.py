"""What docs/serving.md says is true: its blocks run, against a server that is started as it says."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

SERVING = Path(__file__).parents[2] / "docs/serving.md"
BLOCKS = re.findall(r"(?ms)^```(\w+)\n(.*?)^```$", SERVING.read_text("utf-8"))
PYTHON = [text for language, text in BLOCKS if language == "python"]
COMMAND = next(text for language, text in BLOCKS if language == "sh")

pytestmark = [pytest.mark.slow, pytest.mark.engine("bubblewrap"), pytest.mark.xdist_group("serve")]


@pytest.fixture(scope="module")
def environ():
    path = f"{sysconfig.get_path('scripts')}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "XAGENT_BACKEND": "bubblewrap"}


@pytest.fixture(scope="module")
def url(environ, tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    (folder / "work").mkdir()
    command = [*shlex.split(COMMAND), "--port", "0"]
    with subprocess.Popen(command, cwd=folder, env=environ, stderr=subprocess.PIPE, text=True) as server:
        yield re.search(r"on (\S+)/ with", server.stderr.readline())[1]
        server.terminate()


@pytest.mark.parametrize("number", range(len(PYTHON)))
def test_python_in_the_document_runs(number, environ, url):
    code = PYTHON[number].replace("http://127.0.0.1:8000", url)
    ran = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


def test_the_configuration_is_json_and_its_command_exists(environ):
    (server,) = [json.loads(text) for language, text in BLOCKS if language == "json"]
    command = server["mcpServers"]["xagent"]
    helped = subprocess.run([command["command"], command["args"][0], "--help"], env=environ, check=True, capture_output=True)
    assert command["args"][1].encode() in helped.stdout


def test_links_and_pictures_are_there():
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", SERVING.read_text("utf-8")):
        assert (SERVING.parent / target).exists(), target


def test_every_option_that_it_names_exists(environ):
    helped = "".join(
        subprocess.run(["xagent", name, "--help"], env=environ, check=True, capture_output=True, text=True).stdout
        for name in ("serve", "mcp")
    )
    for option in set(re.findall(r"`(--[a-z-]+)", SERVING.read_text("utf-8"))):
        assert option in helped, option
