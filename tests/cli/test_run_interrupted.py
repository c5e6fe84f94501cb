"""`xagent run` when somebody interferes: signals, readers that go or are slow."""

from __future__ import annotations

import array
import fcntl
import os
import signal
import subprocess
import termios
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
    process.stdin.write(b"x")
    process.stdin.flush()
    # When that was taken it waits for more.
    untaken = array.array("i", [1])
    while untaken[0]:
        assert process.poll() is None
        time.sleep(0.02)
        fcntl.ioctl(process.stdin, termios.FIONREAD, untaken)
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
    ours, theirs = os.pipe()
    fcntl.fcntl(ours, fcntl.F_SETPIPE_SZ, 4096)
    endless = program(stdout="x" * 500_000, exit_code=None)
    process = xagent.start("run", endless, "--timeout", "1", stdout=theirs)
    os.close(theirs)
    with os.fdopen(ours, "rb") as output:
        taken = output.read(1)
        time.sleep(1.5)
        assert process.poll() is None  # its output is not lost: it waits until somebody takes it
        taken += output.read()
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, len(taken)) == (124, 500_000)
    assert b"time limit" in errors
