"""`xagent run`: what goes in, what comes out, and the exit status."""

from __future__ import annotations

import base64
import json
import os
import pty
import subprocess
from pathlib import Path

import pytest


def test_the_program_s_output_and_status_are_passed_on(xagent, program):
    done = xagent("run", program(stdout="out\n", stderr="err\n", exit_code=7))
    assert (done.stdout, done.stderr, done.returncode) == (b"out\n", b"err\n", 7)
    assert xagent.note == "closed, alive: 0\n"


def test_output_arrives_byte_for_byte(xagent, program):
    every_byte = "".join(map(chr, range(256))) * 400
    done = xagent("run", program(pieces=[("stdout", every_byte[:70_001]), ("stdout", every_byte[70_001:])]))
    assert done.stdout == every_byte.encode("latin-1")


def test_the_order_of_stdout_and_stderr_is_kept(xagent, program):
    pieces = [("stdout" if n % 3 else "stderr", f"{n}\n") for n in range(100)]
    process = xagent.start("run", program(pieces=pieces), stderr=subprocess.STDOUT)
    output, _ = process.communicate(timeout=60)
    assert output.split() == [b"%d" % n for n in range(100)]


def test_output_can_go_to_a_file(xagent, program):
    with (xagent.home / "out").open("wb") as target:
        process = xagent.start("run", program(stdout="x" * 10_000), stdout=target)
        process.communicate(timeout=60)
    assert (xagent.home / "out").read_text() == "x" * 10_000


def test_a_full_disk_is_an_error_of_ours(xagent, program):
    with Path("/dev/full").open("wb") as full:
        process = xagent.start("run", program(stdout="x"), stdout=full)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 125
    assert errors == b"xagent: output: it cannot be written: No space left on device\n"


def test_streams_that_are_closed_swallow_their_output(xagent, program):
    shell = f"exec {' '.join(xagent.argv)} run {program(stdout='lost', stderr='seen')} <&- >&-"
    done = subprocess.run(
        ["sh", "-c", shell], env=xagent.env, cwd=xagent.home, capture_output=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"seen")


@pytest.mark.parametrize(
    ("what", "status", "note"),
    [
        ({"exit_code": None}, 124, b"xagent: stopped at the time limit of 0.3 s\n"),
        ({"exit_code": 137, "oom_kills": 1}, 137, b"xagent: out of memory at the limit of 128 MiB\n"),
        ({"dies": True}, 137, b"xagent: killed\n"),
        ({"stdout": "x" * 2**20 + "x"}, 137, b"xagent: stopped, for it wrote more than the output limit of 1 MiB"),
        ({"lost": True}, 125, b"xagent: fake: the connection broke\n"),
    ],
)
def test_how_it_ended_is_in_the_status_and_in_a_note(xagent, program, what, status, note):
    # Who does not end by himself is to be stopped soon; the others need the time that they need.
    done = xagent("run", program(**what), "--timeout", "0.3" if status == 124 else "60")
    assert done.returncode == status
    assert done.stderr.startswith(note)


def test_a_failing_build_has_the_compiler_s_status_and_words(xagent, program):
    done = xagent("run", program("main.built", build_exit_code=1, stderr="line 1: no\n"))
    assert (done.returncode, done.stderr) == (1, b"line 1: no\n")


def test_a_limit_that_is_not_held_is_said(xagent, program):
    done = xagent("run", program(stdout="ok"), FAKE_LIMITS="scratch processes")
    assert done.stdout == b"ok"
    assert done.stderr == b"xagent: fake cannot hold these default limits here: memory, cpus (see `xagent doctor`)\n"


def test_a_limit_that_was_asked_for_and_cannot_be_held_is_refused(xagent, program):
    done = xagent("run", program(), "--memory", "64m", FAKE_LIMITS="")
    assert done.returncode == 125
    assert done.stderr.startswith(b"xagent: fake: it cannot hold the limit memory")


def seen(done: subprocess.CompletedProcess[bytes]) -> dict:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_arguments_behind_the_double_dash_are_the_program_s(xagent, program):
    done = xagent("run", program(echo=True), "--", "--json", "-x", "--", "a b")
    assert seen(done)["argv"] == ["plain", "main.plain", "--json", "-x", "--", "a b"]


def test_the_extension_of_the_file_is_kept_where_it_says_what_kind_of_source_it_is(xagent, program):
    assert seen(xagent("run", program("x.plain", echo=True)))["argv"] == ["plain", "main.plain"]
    assert seen(xagent("run", program("x.pln", echo=True)))["argv"] == ["plain", "main.pln"]


def test_stdin_is_the_program_s(xagent, program):
    assert seen(xagent("run", program(echo=True), stdin=b"\xff\0data"))["stdin"] == "\xff\0data"


def test_a_terminal_is_not_read(xagent, program):
    ours, theirs = pty.openpty()
    process = xagent.start("run", program(echo=True), stdin=theirs)
    output, _ = process.communicate(timeout=60)
    os.close(ours)
    os.close(theirs)
    assert json.loads(output)["stdin"] == ""


def test_a_dash_reads_the_program_from_stdin(xagent):
    done = xagent("run", "-", "--language", "pl", stdin=b'{"echo": true}')
    assert seen(done)["stdin"] == ""


def test_code_can_be_given_as_an_option(xagent):
    assert seen(xagent("run", "--code", '{"echo": true}', "-l", "plain", "--", "x"))["argv"][-1] == "x"


def test_any_bytes_can_be_a_program(xagent):
    (xagent.home / "bad.plain").write_bytes(b'{"stdout": "\xff"}')
    assert b"UnicodeDecodeError" in xagent("run", "bad.plain").stderr  # the fake's own: the byte came that far


def test_files_and_variables_are_given_by_option(xagent, program):
    (xagent.home / "data.csv").write_bytes(b"1,2\xff")
    (xagent.home / "odd:name").write_bytes(b"odd")
    done = xagent(
        *("run", program(echo=True), "--file", "data.csv", "--file", "data.csv:in/d.csv", "--file", "odd:name"),
        *("--env", "A=1=2", "--env", "MINE", "--memory", "1g", "--cpus", "2"),
        MINE="from here",
        SECRET="not given",
    )
    asked = seen(done)
    assert asked["files"] == {"data.csv": "1,2\xff", "in/d.csv": "1,2\xff", "odd:name": "odd"}
    assert (asked["env"]["A"], asked["env"]["MINE"]) == ("1=2", "from here")
    assert "SECRET" not in asked["env"]
    assert (asked["memory"], asked["cpus"]) == (2**30, 2)


def test_collected_files_are_written_below_the_output_folder(xagent, program):
    code = program(files={"out/a.txt": "new", "out/deep/b": "\xff", "other": "no"})
    target = xagent.home / "results" / "out"
    target.mkdir(parents=True)
    (target / "a.txt").write_text("old")
    done = xagent("run", code, "--collect", "out/**", "--output-dir", "results")
    assert (done.returncode, done.stderr) == (0, b"")
    assert (target / "a.txt").read_text() == "new"
    assert (target / "deep" / "b").read_bytes() == b"\xff"
    assert sorted(path.name for path in (xagent.home / "results").rglob("*")) == ["a.txt", "b", "deep", "out"]


def test_a_note_says_when_nothing_was_collected(xagent, program):
    done = xagent("run", program(), "--collect", "*.png", "--output-dir", "results")
    assert done.stderr == b"xagent: no file was collected\n"


def test_json_is_one_document_and_nothing_else(xagent, program):
    code = program(stdout="o\xff", stderr="e", exit_code=3, files={"f": "\xff\0"})
    done = xagent("run", code, "--collect", "*", "--json")
    document = json.loads(done.stdout)
    assert (done.returncode, done.stderr) == (3, b"")
    assert document["status"] == "error"
    assert (document["output"], document["error"], document["exit_code"]) == ("o\ufffd", "e", 3)
    assert (document["language"], document["backend"]) == ("plain", "fake")
    (file,) = document["files"]
    assert (file["path"], base64.urlsafe_b64decode(file["content"])) == ("f", b"\xff\0")


def test_an_error_is_json_too_where_json_is_asked_for(xagent, program):
    done = xagent("run", program(), "--backend", "asleep", "--json")
    assert done.returncode == 125
    assert json.loads(done.stdout) == {
        "error": {
            "type": "BackendUnavailableError",
            "component": "asleep",
            "cause": "the daemon sleeps",
            "fix": "Wake it.",
        }
    }


def test_auto_takes_the_best_backend_that_answers(xagent, program):
    assert json.loads(xagent("run", program(), "-b", "auto", "--json").stdout)["backend"] == "fake"


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ((), "FILE or --code"),
        (("main.plain", "--code", "x"), "FILE or --code"),
        (("missing.plain",), "cannot be read: No such file"),
        (("",), ". is a folder"),
        (("main",), "file main: it has no extension to tell its language. Add --language"),
        (("main.plain", "extra"), "unexpected extra argument"),
        (("main.plain", "--timeout", "soon"), "--timeout"),
        (("main.plain", "--timeout", "-1"), "limit timeout=-1.0 is out of bounds"),
        (("main.plain", "--memory", "lots"), "'lots' is not a size"),
        (("main.plain", "--collect", "*"), "--output-dir"),
        (("main.plain", "--collect", "../*", "-o", "x"), "not inside the workspace"),
        (("main.plain", "--file", "nowhere"), "nowhere cannot be read"),
        (("main.plain", "--file", "main.plain:../up"), "not inside the workspace"),
        (("main.plain", "--env", "UNSET"), "UNSET is not set here"),
        (("main.plain", "--env", "1=2"), "cannot be an environment variable"),
        (("main.plain", "--language", "plian"), "Did you mean plain or pln?"),
        (("main.plian",), "Did you mean .plain (plain)"),
        (("main.plain", "--backend", "fakee"), "Did you mean fake?"),
        (("main.built", "--memory", "64m"), "less than built needs"),
    ],
)
def test_wrong_usage_has_status_2_and_says_what_is_wrong(xagent, program, args, words):
    program("main.plain")
    program("main.plian")
    program("main.built")
    done = xagent("run", *args)
    assert done.returncode == 2
    assert words in " ".join(done.stderr.decode().split())
    assert done.stdout == b""


@pytest.mark.parametrize(
    "args",
    [
        ("main.plain",),
        ("-", "-l", "plain"),
        ("/dev/zero", "-l", "plain"),
        ("main.plain", "--file", "/dev/zero"),
    ],
)
def test_input_that_cannot_fit_is_refused_and_not_read_to_its_end(xagent, program, args):
    program()
    with Path("/dev/zero").open("rb") as endless:
        process = xagent.start("run", *args, stdin=endless)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert b"Raise the scratch limit" in errors


def test_a_bug_does_not_look_like_the_program_s_status(xagent):
    done = xagent("run", "--code", "no json", "-l", "plain")
    assert done.returncode == 125
    assert b"xagent: bug: JSONDecodeError" in done.stderr
    done = xagent("run", "--code", "no json", "-l", "plain", "--json")
    assert done.returncode == 125
    assert json.loads(done.stdout)["error"]["type"] == "XAgentError"
