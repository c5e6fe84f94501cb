"""Files come back from the workspace, all that match, and whatever the program did to prevent it."""

from __future__ import annotations

import asyncio

import pytest

from tests.host import HostBackend, run_job, slowest_callback
from xagent_core.guest.collect import collect
from xagent_core.guest.health import is_alive


async def files_after(host: HostBackend, script: str, patterns: list[str], limit: int = 10**6):
    """What is collected after a script, as a mapping, and whether it is all."""
    sandbox = await host.guest()
    await run_job(sandbox, ("sh", "main.x"), source=script.encode())
    files, complete = await collect(sandbox, patterns, limit=limit)
    return {file.path: file.content for file in files}, complete


async def test_files_that_match_come_back(host):
    script = "mkdir -p out/deep; echo 1 >out/a.txt; echo 2 >out/deep/b.txt; echo 3 >c.txt; echo 4 >out/a.log"
    assert await files_after(host, script, ["out/*.txt"]) == ({"out/a.txt": b"1\n"}, True)
    assert await files_after(host, script, ["out/**"]) == (
        {"out/a.txt": b"1\n", "out/deep/b.txt": b"2\n", "out/a.log": b"4\n"},
        True,
    )
    assert await files_after(host, script, ["**/[bc].txt"]) == ({"out/deep/b.txt": b"2\n", "c.txt": b"3\n"}, True)


@pytest.mark.parametrize("job", [{"build": ("true",)}, {"run": ("sh", "main.x", "x" * 10_000)}], ids=["build", "long"])
async def test_files_come_back_however_the_program_was_started(host, job):
    sandbox = await host.guest()
    ran = await run_job(sandbox, **{"run": ("sh", "main.x"), "source": b"echo 1 >made; sleep 60 &"} | job)
    assert ran.outcome.status == "success"
    files, complete = await collect(sandbox, ["made"], limit=10**6)
    assert ([(file.path, file.content) for file in files], complete) == ([("made", b"1\n")], True)


async def test_nothing_matches(host):
    assert await files_after(host, "true", ["*.png"]) == ({}, True)


async def test_strange_names_come_back(host):
    script = """echo 1 >"two
lines"; echo 2 >'a [b] \\ $c.txt'; echo 3 >-n; echo 4 >' '; mkdir ü; echo 5 >ü/ö;
echo 6 >"$(printf 'bad\\377')"; echo 7 >"$(printf 'bad\\376')" """
    assert await files_after(host, script, ["**"]) == (
        {
            "two\nlines": b"1\n",
            "a [b] \\ $c.txt": b"2\n",
            "-n": b"3\n",
            " ": b"4\n",
            "ü/ö": b"5\n",
            r"bad\xff": b"6\n",
            r"bad\xfe": b"7\n",
            "main.x": script.encode(),
        },
        True,
    )


async def test_only_regular_files_come_back(host):
    script = "ln -s /etc/passwd link; ln -s . loop; mkfifo pipe; mkdir -p dir.txt; echo x >real; ln real second"
    assert await files_after(host, script, ["link", "loop/**", "pipe", "dir.txt", "real", "second"]) == (
        {"real": b"x\n", "second": b"x\n"},
        True,
    )


async def test_what_does_not_fit_the_limit_is_said(host):
    script = "head -c 5000 /dev/zero >big; echo x >small"
    assert await files_after(host, script, ["big", "small"], limit=100) == ({"small": b"x\n"}, False)


async def test_a_file_that_nobody_may_read_is_said(host):
    script = "echo x >seen; mkdir closed; echo y >closed/f; chmod 000 closed"
    found, complete = await files_after(host, script, ["**/f", "seen"])
    # Root may read it; then it is there.
    assert found["seen"] == b"x\n"
    assert complete == ("closed/f" in found)


async def test_a_huge_sparse_file_does_not_hold_it_up(host):
    script = "dd if=/dev/zero of=huge bs=1 count=0 seek=3G 2>/dev/null; echo x >small"
    async with asyncio.timeout(30):
        _, complete = await files_after(host, script, ["huge", "small"], limit=1000)
    assert not complete


async def test_what_runs_on_is_ended_and_its_output_spoils_nothing(host):
    script = """
        echo data >file
        noise() { trap '' TERM HUP; while :; do echo noise; echo noise >file2; done; }
        noise & noise & setsid sh -c 'while :; do echo noise; done' &
        sleep 0.1
    """
    sandbox = await host.guest()
    ran = await run_job(sandbox, ("sh", "main.x"), source=script.encode(), output_limit=2**28)
    assert ran.outcome.status == "success"
    files, complete = await collect(sandbox, ["file"], limit=1000)
    assert [(file.path, file.content) for file in files] == [("file", b"data\n")]
    assert complete


async def test_many_files_come_back(host):
    found, complete = await files_after(host, "for n in $(seq 2000); do echo $n >f$n; done", ["f*"])
    assert len(found) == 2000
    assert found["f1999"] == b"1999\n"
    assert complete


async def test_without_find_and_tar_it_is_said_that_files_are_missing(host):
    sandbox = await host.guest(env={"PATH": "/tmp/bin"})
    found, complete = await collect(sandbox, ["*"], limit=1000)
    assert (found, complete) == ((), False)


async def test_the_sandbox_can_be_used_on_when_jobs_are_not_ended(host):
    sandbox = await host.guest()
    await run_job(sandbox, ("sh", "-c", "head -c 100000 /dev/zero >big; echo x >f"))
    files, complete = await collect(sandbox, ["big", "f"], limit=1000, end_jobs=False)
    assert [file.path for file in files] == ["f"]
    assert not complete
    assert await is_alive(sandbox, within=10)


async def test_a_guest_that_is_gone_has_no_files(host):
    sandbox = await host.guest()
    await run_job(sandbox, ("sh", "-c", "echo x >f; kill -9 -1"))
    assert await collect(sandbox, ["f"], limit=1000) == ((), False)


async def test_the_event_loop_is_not_held_up(host):
    sandbox = await host.guest()
    await run_job(sandbox, ("sh", "-c", "for n in $(seq 3000); do echo $n >f$n; done"), timeout=30)
    with slowest_callback() as slowest:
        files, _ = await collect(sandbox, ["f*"], limit=10**6)
    assert len(files) == 3000
    assert slowest() < 0.02
