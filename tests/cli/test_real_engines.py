"""The command line on real engines: what a user types, and what is left when it is over."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from importlib import metadata

import pytest

from tests.backends import BACKENDS, EACH_BACKEND

SUMS = """
import csv, json, pathlib, sys

rows = list(csv.DictReader(open("data.csv")))
factor = int(sys.stdin.read())
total = sum(int(row["n"]) for row in rows) * factor
pathlib.Path("out").mkdir()
pathlib.Path("out/total.json").write_text(json.dumps({"total": total}))
print("total", total)
print("rows", len(rows), file=sys.stderr)
sys.exit(len(sys.argv))
"""


@pytest.fixture
def real(xagent):
    """`xagent` with the real engines and Python; other languages have tests of their own."""
    used = {*BACKENDS, "python"}
    unused = {point.name for point in metadata.entry_points(group="xagent")} - used
    xagent.env |= {"XAGENT_DISABLED_PLUGINS": ",".join({*unused, "xagent-fake"})}
    return xagent


@pytest.mark.parametrize("engine", EACH_BACKEND)
def test_a_program_reads_stdin_and_a_file_and_writes_one(real, engine):
    (real.home / "sums.py").write_text(SUMS)
    (real.home / "numbers.csv").write_text("n\n1\n2\n3\n")
    options = ("--backend", engine, "--file", "numbers.csv:data.csv", "--collect", "out/*", "--output-dir", "results")
    done = real("run", "sums.py", *options, "--", "a", "b", stdin=b"7")
    assert (done.stdout, done.stderr, done.returncode) == (b"total 42\n", b"rows 3\n", 3)
    assert json.loads((real.home / "results" / "out" / "total.json").read_text()) == {"total": 42}


@pytest.mark.parametrize("engine", EACH_BACKEND)
def test_the_time_limit(real, engine):
    code = "import time; print('begun', flush=True); time.sleep(60)"
    done = real("run", "--code", code, "--backend", engine, "--timeout", "4")
    assert (done.returncode, done.stdout) == (124, b"begun\n")
    assert done.stderr == b"xagent: stopped at the time limit of 4 s\n"


@pytest.mark.parametrize("engine", EACH_BACKEND)
def test_any_bytes_come_out(real, engine):
    code = "import sys; sys.stdout.buffer.write(bytes(range(256)) * 1000)"
    assert real("run", "--code", code, "--backend", engine).stdout == bytes(range(256)) * 1000


@pytest.mark.parametrize("engine", EACH_BACKEND)
def test_ctrl_c_at_a_terminal_leaves_nothing(real, engine):
    """A terminal signals the whole process group, so whatever helpers the backend has started too."""
    code = "import time; print('begun', flush=True); time.sleep(60)"
    process = real.start("run", "--code", code, "--backend", engine, start_new_session=True)
    assert process.stdout.readline() == b"begun\n"
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, b"")
    # What was killed may still be about to end.
    deadline = time.monotonic() + 30
    while alive := subprocess.run(["pgrep", "-s", str(process.pid)], capture_output=True, check=False).stdout:
        assert time.monotonic() < deadline, alive
        time.sleep(0.1)


@pytest.mark.parametrize("engine", EACH_BACKEND)
def test_doctor_runs_a_program_there(real, engine):
    document = json.loads(real("doctor", "--json").stdout)
    backend = next(backend for backend in document["backends"] if backend["name"] == engine)
    assert [(trial["language"], trial["state"]) for trial in backend["languages"]] == [("python", "ok")]


@pytest.mark.parametrize("engine", EACH_BACKEND)
def test_clean_asks_the_engine(real, engine):
    document = json.loads(real("clean", "--json").stdout)
    assert isinstance(document["removed"][engine], list)
    assert document["failed"] == []
