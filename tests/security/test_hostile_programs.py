"""Every hostile program of the corpus on every backend: what its caller sees, and that the host is as it was."""

import functools
import os
import re
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.backends import EACH_BACKEND
from tests.security.hostile import HELPER, hostile_programs
from tests.security.traces import host_settings, marked, sight, traces
from xagent_core import Engine, ExecutionRequest, PoolConfig

PROGRAMS = hostile_programs()
BY_NAME = {str(program): program for program in PROGRAMS}
PYTHON = Path(sys.executable).resolve()
# Little is closed here: the host's files are there to read, as their owner, and what the caller had open stays open.
BARE = ("bwrap", "--unshare-pid", "--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp")
LANGUAGES = {"python", "javascript", "typescript", "bash", "go"}

# They see nothing of the Python that runs the tests.
pytestmark = pytest.mark.slow


@pytest.mark.parametrize("program", PROGRAMS, ids=str)
@pytest.mark.parametrize("backend", EACH_BACKEND)
async def test_a_hostile_program_harms_nobody(backend, program, monkeypatch):
    before, seen, runs = host_settings(), [], 0
    async with Engine(backend, pool=PoolConfig(ready=0)) as engine:
        waived = set(program.needs) - (await engine.backend.capabilities()).limits
        if waived:
            pytest.skip(f"{backend} does not claim to hold {', '.join(waived)} here")
        start = engine.backend.start

        @functools.wraps(start)
        async def start_and_look(spec):
            sandbox = await start(spec)
            seen.append(await sight(sandbox))
            return sandbox

        monkeypatch.setattr(engine.backend, "start", start_and_look)
        for timeout in (program.limits.timeout, 60.0):
            result = await engine.execute(
                program.code,
                language=program.language,
                limits=replace(program.limits, timeout=timeout),
                files=[HELPER] if program.language == "python" else [],
                collect=program.collect,
            )
            runs += 1
            # On a busy machine its time may be over before it could do what it is there for.
            if result.status != "timeout" or _is_expected(program, result):
                break

    left = [line for sandbox in seen for line in traces(sandbox, backend)]
    assert _is_expected(program, result), result
    assert tuple(file.path for file in result.files) == program.files
    assert len(seen) == runs
    assert left == []
    assert marked() == []
    assert host_settings() == before


def _is_expected(program, result):
    said = ((program.output, result.output), (program.error, result.error))
    return result.status in program.status and all(re.fullmatch(words, text.strip(), re.DOTALL) for words, text in said)


@pytest.mark.parametrize("backend", EACH_BACKEND)
async def test_a_sandbox_that_lives_would_be_found(backend):
    async with Engine(backend, pool=PoolConfig(ready=0)) as engine:
        sandbox = await engine.backend.start(engine.plan(ExecutionRequest(code="", language="bash")).spec)
        try:
            found = traces(await sight(sandbox), backend, within=0)
        finally:
            await sandbox.kill()
    assert {line.partition(" ")[0] for line in found} >= {"process", "control"}, found


def in_bare_bubblewrap(program, tmp_path, *, code=None, folder=None):
    """Runs a program, if wanted with a folder of the host behind descriptor 7, and gives what it says."""
    work = tmp_path / "work"
    work.mkdir()
    (work / HELPER.path).write_bytes(HELPER.content)
    command = [str(PYTHON) if program.language == "python" else "bash", "-c", code or program.code]
    inside = [*BARE, "--bind", str(work), "/tmp/work", "--chdir", "/tmp/work", *command]
    opened = inside if folder is None else ["sh", "-c", 'exec 7<"$0"; exec "$@"', str(folder), *inside]
    return subprocess.run(opened, stdout=subprocess.PIPE, check=True, text=True, timeout=60).stdout.strip()


@pytest.mark.engine("bubblewrap")
@pytest.mark.parametrize("name", ["descriptors-folders-behind-descriptors", "escapes-descriptor-of-the-hosts-folder"])
@pytest.mark.parametrize("is_open", [True, False], ids=["open", "closed"])
def test_a_folder_of_the_hosts_would_be_told_of(name, is_open, tmp_path):
    # Its path does not exist inside, where another file system is at /tmp.
    told = in_bare_bubblewrap(BY_NAME[name], tmp_path, folder=tmp_path if is_open else None)
    assert (re.fullmatch(BY_NAME[name].output, told) is None) == is_open, told
    assert ("/fd/7" in told) == is_open, told


@pytest.mark.engine("bubblewrap")
@pytest.mark.skipif(PYTHON.stat().st_uid != os.geteuid(), reason="this Python belongs to another user")
def test_a_program_that_could_write_over_what_runs_it_would_tell(tmp_path):
    told = in_bare_bubblewrap(BY_NAME["escapes-runc-over-its-own-program"], tmp_path)
    assert "'self': 'ETXTBSY'" in told


@pytest.mark.engine("bubblewrap")
def test_a_program_that_gets_all_the_timers_that_it_wants_would_tell(tmp_path):
    program = BY_NAME["kernel-timers"]
    told = in_bare_bubblewrap(program, tmp_path, code=program.code.replace("1_000_000", "1_000"))
    assert told.startswith("1000 timers")


def test_what_a_program_made_on_the_host_would_be_found(tmp_path, monkeypatch):
    monkeypatch.setattr("tests.security.traces.PLACES", (str(tmp_path),))
    monkeypatch.setattr("tests.security.traces.MARK", f"xagent-marked-{tmp_path.name}")
    monkeypatch.setattr("tests.security.traces.PORT", port := 17812)
    assert marked() == []
    (tmp_path / f"xagent-marked-{tmp_path.name}-1").touch()
    with socket.socket(socket.AF_UNIX) as abstract, socket.create_server(("127.0.0.1", port)):
        abstract.bind(f"\0xagent-marked-{tmp_path.name}")
        assert [line.partition(":")[0] for line in marked()] == [
            str(tmp_path / f"xagent-marked-{tmp_path.name}-1"), "/proc/net/unix", "/proc/net/tcp"
        ]  # fmt: skip


def test_the_corpus_is_in_every_language_and_no_name_is_used_twice():
    assert {program.language for program in PROGRAMS} == LANGUAGES
    assert min(sum(program.language == language for program in PROGRAMS) for language in LANGUAGES) >= 5
    assert len(PROGRAMS) >= 60
    assert len({program.name for program in PROGRAMS}) == len(PROGRAMS)
