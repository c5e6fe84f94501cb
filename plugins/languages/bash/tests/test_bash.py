"""What the bash plugin registers."""

from __future__ import annotations

from xagent_lang_bash import hooks

from xagent_core.types import ExecutionRequest


def test_scripts_run_under_the_name_that_bash_reports():
    (bash,) = hooks.xagent_register_languages()

    program = bash.prepare(ExecutionRequest(code="echo\r\n", language="bash", args=("a b",)))

    assert (program.run, program.source) == (("bash", "main.sh", "a b"), b"echo\n")
