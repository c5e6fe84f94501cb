"""How Node.js is started: a matter of its version, so stand-ins tell theirs and what they were asked to do."""

from __future__ import annotations

import os
import subprocess

import pytest
from xagent_lang_javascript.language import JAVASCRIPT

from xagent_core.types import ExecutionRequest

# Says that a source with `import` is no CommonJS, as `node --check` of the versions without detection does.
NODE = """#!/bin/sh
case $1 in
--version) echo {version} ;;
--check) ! grep -q import "$2" ;;
*) echo "$@" ;;
esac
"""


def started(tmp_path, version, code, *args):
    """What Node.js of that version is started with."""
    node = tmp_path / "bin" / "node"
    node.parent.mkdir()
    node.write_text(NODE.format(version=version))
    node.chmod(0o755)
    program = JAVASCRIPT.prepare(ExecutionRequest(code=code, language="javascript", args=args))
    (tmp_path / program.source_name).write_bytes(program.source)
    path = f"{node.parent}:{os.environ['PATH']}"
    done = subprocess.run(program.run, cwd=tmp_path, env={"PATH": path}, capture_output=True, text=True, check=True)
    return done.stdout.split()


@pytest.mark.parametrize("version", ["v20.19.0", "v20.20.2", "v22.7.0", "v22.20.0", "v24.1.0", "v26.0.0"])
def test_versions_that_detect_modules_are_left_to_it(tmp_path, version):
    assert started(tmp_path, version, "import 'fs'", "a b") == ["main.js", "a", "b"]


@pytest.mark.parametrize("version", ["v18.19.1", "v18.20.4", "v20.11.0", "v20.18.1", "v21.7.0", "v22.6.0"])
def test_versions_that_do_not_are_told(tmp_path, version):
    assert started(tmp_path, version, "import 'fs'", "a") == ["--experimental-default-type=module", "main.js", "a"]


@pytest.mark.parametrize("version", ["v18.20.4", "v20.18.1"])
def test_commonjs_is_left_alone(tmp_path, version):
    assert started(tmp_path, version, "require('fs')") == ["main.js"]


@pytest.mark.parametrize(
    ("language", "name"), [("javascript", "main.js"), ("js", "main.js"), ("mjs", "main.mjs"), ("cjs", "main.cjs")]
)
def test_an_alias_that_is_an_extension_names_the_source(language, name):
    assert JAVASCRIPT.prepare(ExecutionRequest(code="", language=language)).source_name == name
