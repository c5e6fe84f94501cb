"""What docs/queues.md says is true: its code runs, and its tables are complete."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sysconfig
import typing
from dataclasses import fields
from pathlib import Path

import pytest

from xagent_core import hookspecs
from xagent_core.abc.queue import JobState
from xagent_core.queueing.books import BooksConfig
from xagent_core.queueing.retry import RetryPolicy
from xagent_core.testing import QueueConformance
from xagent_core.testing.redis import RedisServer

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/queues.md").read_text("utf-8")
EMBEDDED, TOOLS, SUITE = re.findall(r"(?ms)^```python\n(.*?)^```$", TEXT)
(COMMANDS,) = re.findall(r"(?ms)^```sh\n(.*?)^```$", TEXT)


@pytest.mark.engine("bubblewrap")
def test_the_queue_in_one_process_runs(monkeypatch, capsys):
    monkeypatch.setenv("XAGENT_BACKEND", "bubblewrap")
    exec(compile(EMBEDDED, "queues.md", "exec"), {"__name__": "__main__"})
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "42"
    assert [line.split()[1] for line in lines if line and line[0].isdigit() and " " in line][0] == "queued"
    assert lines[-1].split()[1] == "ended"


@pytest.mark.engine("bubblewrap")
def test_the_call_of_a_tool_runs(monkeypatch, capsys):
    monkeypatch.setenv("XAGENT_BACKEND", "bubblewrap")
    exec(compile(TOOLS, "queues.md", "exec"), {"__name__": "__main__"})
    status, content = capsys.readouterr().out.split(maxsplit=1)
    assert (status, json.loads(content)["output"]) == ("success", "42\n")


@pytest.mark.slow
@pytest.mark.engine("bubblewrap")
def test_the_commands_run(tmp_path):
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    server = RedisServer(tmp_path)
    server.start()
    commands = COMMANDS.replace("redis://localhost:6379/0", server.url()).replace("127.0.0.1:8080", "127.0.0.1:0")
    path = f"{sysconfig.get_path('scripts')}{os.pathsep}{os.environ['PATH']}"
    try:
        done = subprocess.run(
            ["sh", "-ec", f"{commands}\nkill $!; wait $!"],
            cwd=tmp_path,
            env=os.environ | {"PATH": path, "XAGENT_BACKEND": "bubblewrap"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    finally:
        server.kill()
    assert done.returncode == 0, done.stderr
    job, *rest = done.stdout.splitlines()
    assert re.fullmatch("[0-9a-f]{32}", job)
    assert {"hello", "42"} <= set(rest)
    assert any(line.split()[:1] == [job] for line in rest)


def test_the_suite_in_the_docs_is_one():
    module: dict[str, object] = {}
    exec(compile(SUITE, "queues.md", "exec"), module)
    suite = module["TestMyQueue"]
    assert isinstance(suite, type)
    assert issubclass(suite, QueueConformance)


def test_every_option_state_and_hook_of_jobs_is_told():
    options = {field.name for kind in (BooksConfig, RetryPolicy) for field in fields(kind)}
    hooks = {name for name in vars(hookspecs) if re.match("xagent_(job|worker|scaled)", name)}
    missing = {name for name in options | hooks | set(typing.get_args(JobState)) if f"`{name}`" not in TEXT}
    assert missing == set()


def test_its_defaults_are_those_of_the_code():
    config = BooksConfig()
    for name in ("lease", "resend"):
        assert f"| {getattr(config, name):g} |" in next(row for row in TEXT.splitlines() if row.startswith(f"| `{name}`"))
    assert f"{config.keep:.0f}, {config.keep_dead:.0f}" in TEXT
    retry = RetryPolicy()
    assert f"{retry.attempts}, {retry.base:g}, {retry.factor:g}, {retry.most:g}" in TEXT
