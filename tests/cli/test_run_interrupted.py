"""`xagent run` when somebody interferes: signals, readers that go or are slow."""

from __future__ import annotations

import fcntl
import signal
import subprocess
import time

import pytest

FOREVER = {"pieces": [("stdout", "begun\n")], "exit_code": None}


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_kills_the_sandbox_and_sets_the_status(xagent, program, number, status):
    process = xagent.start("run", program(**FOREVER))
    assert process.stdout.readline() == b"begun\n"  # so output also comes before the program ends
    process.send_signal(number)
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, output, errors) == (status, b"", b"")
    assert xagent.note == "closed, alive: 0\n"


def test_ctrl_c_twice_still_cleans_up(xagent, program):
    process = xagent.start("run", program(**FOREVER))
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert xagent.note == "closed, alive: 0\n"


def test_ctrl_c_while_it_waits_for_its_input(xagent, program):
    process = xagent.start("run", program(), stdin=subprocess.PIPE)
    time.sleep(1)  # nothing tells from outside that it has come to wait
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, b"")


def test_a_reader_that_goes_ends_the_program(xagent, program):
    pieces = [("stdout", "line\n")] * 1000
    process = xagent.start("run", program(pieces=pieces, pause=0.01, exit_code=None))
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(timeout=60) == 141
    assert process.stderr.read() == b""
    process.stderr.close()
    assert xagent.note == "closed, alive: 0\n"


def test_the_time_limit_holds_while_the_reader_is_slow(xagent, program):
    process = xagent.start("run", program(stdout="x" * 500_000, exit_code=None), "--timeout", "0.5")
    fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, 4096)
    time.sleep(1.5)
    assert process.poll() is None  # its output is not lost: it waits until somebody takes it
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, len(output)) == (124, 500_000)
    assert b"time limit" in errors
