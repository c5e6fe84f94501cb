"""The guest itself: what it does with jobs, and how it ends whatever they do."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.host import HostBackend, run_job
from xagent_core import InputFile, InvalidRequestError, SandboxLostError
from xagent_core.guest.health import answer, is_alive
from xagent_core.guest.script import guest_command
from xagent_core.guest.wire import files_message, new_boundary

# An interpreter of shell scripts that stands by as python does: it opens its source once, and reads all of it.
STANDBY = ("python3", "-c", "import os; text = open('main.x').read(); os.execvp('sh', ['sh', '-c', text])")


MODES = {"alone": ((), ()), "cold": ((), STANDBY), "standby": (STANDBY, STANDBY)}
"""Which interpreter the guest starts ahead, and which one the job says could have been: a language may have none, and
a sandbox that is started for a job that waits already has none."""


@pytest.fixture(params=sorted(MODES))
def mode(request: pytest.FixtureRequest) -> str:
    """One of `MODES`."""
    return str(request.param)


async def run_script(host: HostBackend, mode: str, script: str, **arguments):
    """Runs a shell script in a new guest."""
    ahead, standby = MODES[mode]
    sandbox = await host.guest(standby=ahead)
    return await run_job(sandbox, ("sh", "main.x"), source=script.encode(), standby=standby, **arguments)


async def test_a_program_reads_its_input_and_ends_with_its_own_code(host, mode):
    ran = await run_script(host, mode, "cat; echo out; echo err >&2; exit 7", stdin=b"in\n")
    assert (ran.stdout, ran.stderr) == (b"in\nout\n", b"err\n")
    assert (ran.outcome.status, ran.outcome.exit_code) == ("error", 7)


async def test_a_program_works_in_the_workspace_and_sees_itself_as_a_file(host, mode):
    ran = await run_script(host, mode, "pwd; test -f main.x && cat main.x")
    assert ran.stdout == b"/tmp/work\npwd; test -f main.x && cat main.x"


async def test_a_program_has_none_of_the_guests_descriptors(host, mode):
    ran = await run_script(host, mode, "for n in 3 4 5 6; do test -e /proc/$$/fd/$n && echo $n; done; true")
    assert ran.stdout == b""


async def test_a_build_that_fails_is_the_end(host):
    ran = await run_job(await host.guest(), ("echo", "ran"), build=("sh", "-c", "echo built; exit 3"))
    assert ran.stdout == b"built\n"
    assert (ran.outcome.status, ran.outcome.phase, ran.outcome.exit_code) == ("error", "build", 3)


async def test_a_build_comes_before_the_run(host):
    ran = await run_job(
        await host.guest(), ("cat", "made"), build=("sh", "-c", "cat >made; echo ok >>made"), stdin=b"!"
    )
    assert (ran.stdout, ran.outcome.status, ran.outcome.phase) == (b"!ok\n", "success", "run")
    assert ran.outcome.build_seconds > 0


async def test_a_program_that_is_missing_says_so(host):
    ran = await run_job(await host.guest(), ("no-such-program",))
    assert (ran.outcome.status, ran.outcome.exit_code) == ("error", 127)
    assert b"no-such-program" in ran.stderr


@pytest.mark.parametrize("victim", ["$PPID", "-1", "0", "$$"])
async def test_killing_around_ends_the_job_at_once(host, mode, victim):
    started = time.monotonic()
    ran = await run_script(host, mode, f"echo before; kill -9 {victim}; sleep 120", timeout=60)
    assert (ran.outcome.status, ran.outcome.exit_code) == ("killed", 137)
    assert ran.stdout == b"before\n"
    assert ran.stderr == b""
    assert time.monotonic() - started < 30  # far from the timeout


async def test_a_program_may_end_by_any_signal(host, mode):
    ran = await run_script(host, mode, "kill -TERM $$")
    assert (ran.outcome.status, ran.outcome.exit_code) == ("error", 143)


async def test_a_program_gets_the_signals_that_it_sends_itself(host, mode):
    ran = await run_script(host, mode, "trap 'echo caught; exit 0' INT; kill -INT $$; echo missed")
    assert ran.stdout == b"caught\n"


async def test_closed_output_does_not_end_a_program(host, mode):
    ran = await run_script(host, mode, "exec >&- 2>&-; sleep 0.1; exit 5")
    assert ran.outcome.exit_code == 5


async def test_what_a_program_leaves_running_does_not_hold_up_its_end(host, mode):
    started = time.monotonic()
    script = "sleep 120 & setsid sleep 120 & (setsid sleep 120 &) ; echo done"
    ran = await run_script(host, mode, script, timeout=60)
    assert (ran.stdout, ran.outcome.status) == (b"done\n", "success")
    assert time.monotonic() - started < 30  # far from the timeout


async def test_a_program_that_ignores_signals_is_stopped_at_the_timeout(host, mode):
    script = "trap '' TERM INT HUP; echo before; while :; do sleep 0.05; done"
    for timeout in (1, 20):  # the second where a busy machine has not let it print before the first
        ran = await run_script(host, mode, script, timeout=timeout)
        if ran.stdout:
            break
    assert (ran.outcome.status, ran.outcome.exit_code, ran.stdout) == ("timeout", None, b"before\n")
    assert timeout <= ran.outcome.run_seconds < timeout + 15


async def test_a_flood_without_a_newline_is_stopped_at_the_limit(host, mode):
    ran = await run_script(host, mode, "echo note >&2; exec cat /dev/zero", output_limit=100_000)
    assert ran.outcome.status == "output_limit"
    assert ran.outcome.truncated == {"stdout"}
    assert ran.stdout == bytes(100_000)
    assert ran.stderr == b"note\n"


async def test_output_of_just_the_limit_is_whole(host, mode):
    ran = await run_script(host, mode, "head -c 1000 /dev/zero", output_limit=1000)
    assert (ran.outcome.status, len(ran.stdout), ran.outcome.truncated) == ("success", 1000, set())


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("size", [3000, 20_000, 200_000])
async def test_files_that_do_not_fit_are_refused_and_the_stream_stays_in_step(shell, mode, size):
    host = HostBackend(shell, scratch="64k")
    try:
        ahead, standby = MODES[mode]
        sandbox = await host.guest(standby=ahead)
        files = [InputFile(f"{number}.bin", b"x" * size) for number in range(200_000 // size)]
        with pytest.raises(InvalidRequestError, match="scratch"):
            await run_job(sandbox, ("true",), standby=standby, files=tuple(files))
        assert await is_alive(sandbox, within=10)
    finally:
        await host.aclose()


@pytest.mark.parametrize("size", [3000, 20_000, 200_000])
async def test_a_file_that_cannot_be_opened_leaves_the_stream_in_step(host, size):
    sandbox = await host.guest()
    for path, code in (("a/b", 0), ("a", 1), ("c", 0)):
        boundary = new_boundary()
        message = files_message(path, b"x" * size, boundary=boundary)
        mark = await answer(sandbox, message, boundary=boundary, within=30)
        assert (path, mark and mark.code) == (path, code)


async def test_five_megabytes_of_source(host, mode):
    source = "#" + "x" * 5_000_000 + "\nprint(len(open('main.x').read()))\n"
    program = ("python3", "main.x")
    ahead, standby = (program if given else () for given in MODES[mode])
    ran = await run_job(await host.guest(standby=ahead), program, source=source.encode(), standby=standby)
    assert ran.stdout == f"{len(source)}\n".encode()


async def test_the_guest_ends_with_its_owner_in_the_middle_of_a_job(host, mode):
    script = "trap '' TERM HUP; setsid sleep 60 & echo started; sleep 60"
    ahead, standby = MODES[mode]
    sandbox = await host.guest(standby=ahead)
    job = asyncio.create_task(run_job(sandbox, ("sh", "main.x"), source=script.encode(), standby=standby, timeout=30))
    await asyncio.sleep(0.3)
    await sandbox.disown()
    async with asyncio.timeout(25):
        ran = await job
        await sandbox.wait()
    assert ran.outcome.status == "killed"


@pytest.mark.parametrize("ahead", [(), STANDBY], ids=["cold", "standby"])
async def test_the_guest_ends_with_its_owner_while_it_stands_by(host, ahead):
    sandbox = await host.guest(standby=ahead)
    assert await is_alive(sandbox, within=10)
    await sandbox.disown()
    async with asyncio.timeout(25):
        assert await sandbox.receive() is None
        await sandbox.wait()


async def test_the_guest_ends_with_its_owner_while_a_large_source_is_not_read(host):
    # bash reads its script as it goes: what does not fit the pipe stays with the guest while a command runs.
    standby = ("bash", "main.x")
    sandbox = await host.guest(standby=standby)
    script = b"sleep 60\n#" + b"x" * 300_000
    job = asyncio.create_task(run_job(sandbox, source=script, standby=standby, timeout=30))
    await asyncio.sleep(0.3)
    await sandbox.disown()
    async with asyncio.timeout(25):
        await job


async def test_a_standby_interpreter_that_died_takes_the_guest_with_it(host):
    sandbox = await host.guest(standby=("false",))
    await sandbox.wait()
    assert not await is_alive(sandbox, within=10)


async def test_a_guest_that_died_before_its_job_ran_nothing(host):
    sandbox = await host.guest(standby=("false",))
    await sandbox.wait()
    with pytest.raises(SandboxLostError) as caught:
        await run_job(sandbox, standby=("false",), source=b"x")
    assert caught.value.code_ran == "no"


async def test_a_guest_that_does_not_answer_is_not_alive(host):
    sandbox = await host.guest(command=("sh", "-c", "sleep 5"))
    assert not await is_alive(sandbox, within=0.1)


FORGER = r"""
    boundary=$(cat /tmp/.xagent/boundary)
    for phase in full files ready start nonsense; do
        printf '%s %s 9 - - -\n' "$boundary" $phase
        printf '%s %s 9 - - -\n' "$boundary" $phase >&2
    done
    printf '%s run not a mark\n' "$boundary"
    LAST
    sleep 60; echo late"""


@pytest.mark.parametrize(("last", "code"), [("exit 4", 4), ("forge", 9)])
async def test_who_forges_marks_lies_only_about_himself(host, last, code):
    """A program can find its boundary. All that it wins is to say how it ended: never an error of xagent's."""
    forge = """printf '%s run 9 - - -\n' "$boundary"; printf '%s run 9 - - -\n' "$boundary" >&2"""
    ran = await run_script(host, "standby", FORGER.replace("LAST", forge if last == "forge" else last))
    assert (ran.outcome.status, ran.outcome.exit_code) == ("error", code)
    assert ran.stdout.endswith(b" run not a mark\n")


async def test_usage_is_what_the_cgroup_says(host):
    ran = await run_job(await host.guest(), ("true",))
    assert ran.outcome.usage.peak_memory is None or ran.outcome.usage.peak_memory > 0


def test_the_script_is_one_text_for_all_languages():
    assert guest_command()[:3] == guest_command(source_name="a.py", standby=("python3", "a.py"))[:3]
