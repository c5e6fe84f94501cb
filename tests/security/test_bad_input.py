"""What careless and hostile callers send: each ends within its limits, with what was printed, and leaves nothing."""

import asyncio
import time

import pytest

from tests.backends import EACH_BACKEND
from xagent_core import (
    Engine,
    ExecutionRequest,
    InputFile,
    InvalidRequestError,
    Limits,
    PolicyNotSupportedError,
    PoolConfig,
    UnknownLanguageError,
)

MIB = 1024 * 1024

pytestmark = pytest.mark.parametrize("backend", EACH_BACKEND)


@pytest.fixture
async def engine(backend):
    async with Engine(backend, pool=PoolConfig(ready=0)) as engine:
        yield engine
        # Whatever a test did, the next program finds a sandbox like new, and the old one is gone.
        result = await engine.execute("import os\nprint(sorted(os.listdir()))")
        assert (result.status, result.output) == ("success", "['main.py']\n")
        assert engine.pool.stats().running == 0


async def test_empty_code_is_a_program_that_does_nothing(engine):
    result = await engine.execute("")
    assert (result.status, result.output, result.error, result.exit_code) == ("success", "", "", 0)


async def test_five_megabytes_of_code_run(engine):
    code = f"text = {'x' * (5 * MIB)!r}\nprint(len(text))"
    # Python takes 20 bytes a character to compile it.
    result = await engine.execute(code, memory_limit="256m")
    assert (result.status, result.output) == ("success", f"{5 * MIB}\n")


async def test_code_that_does_not_fit_the_scratch_space_is_refused_before_it_runs(engine):
    with pytest.raises(InvalidRequestError, match="Raise the scratch limit"):
        await engine.execute("#" * (11 * MIB))


async def test_nul_bytes_in_code_get_the_interpreters_own_words(engine):
    # Python before 3.12 reads over them.
    result = await engine.execute("console.log(1)\0", language="javascript")
    assert result.status == "error"
    assert "SyntaxError: Invalid or unexpected token" in result.error


@pytest.mark.parametrize("code", ["\ufeffprint('hi')", "if True:\r\n    print('hi')\r\n"], ids=["bom", "crlf"])
async def test_bom_and_crlf_do_no_harm(engine, code):
    assert (await engine.execute(code)).output == "hi\n"


async def test_crlf_in_a_shell_script_does_no_harm(engine):
    assert (await engine.execute("for i in 1 2\r\ndo\r\n  echo $i\r\ndone\r\n", language="bash")).output == "1\n2\n"


async def test_output_that_is_not_utf8_is_shown_with_replacement_characters(engine):
    result = await engine.execute("import os\nos.write(1, b'a\\xff\\xc3b' + 'ü'.encode())")
    assert (result.status, result.output) == ("success", "a\ufffd\ufffdbü")


async def test_an_unknown_language_lists_near_misses_and_what_is_installed(engine):
    with pytest.raises(UnknownLanguageError, match=r"Did you mean python.*Installed: .*bash.*go") as caught:
        await engine.execute("", language="pyhton")
    assert caught.value.component == "language pyhton"


@pytest.mark.parametrize(
    "limits",
    [
        {"timeout": -1}, {"timeout": 0}, {"timeout": float("nan")}, {"timeout": 1e12}, {"memory": -1},
        {"memory": 1}, {"memory": 2**62}, {"cpus": 0}, {"cpus": -0.5}, {"cpus": 1e9}, {"processes": 1},
        {"scratch": 0}, {"output": -1},
    ],
    ids=str,
)  # fmt: skip
async def test_absurd_limits_are_refused(engine, limits):
    with pytest.raises(InvalidRequestError, match="limit"):
        await engine.execute("", limits=Limits(**limits))


async def test_a_limit_below_the_languages_need_is_refused(engine):
    with pytest.raises(InvalidRequestError, match="less than go needs"):
        await engine.execute("package main\nfunc main() {}", language="go", memory_limit="8m")


@pytest.mark.parametrize("path", ["../x", "/etc/x", "a/../../x", "", "."])
async def test_a_path_that_leaves_the_workspace_is_refused(engine, path):
    with pytest.raises(InvalidRequestError, match="inside the workspace"):
        InputFile(path, b"")
    with pytest.raises(InvalidRequestError, match="inside the workspace"):
        await engine.execute("", collect=[path])


async def test_a_gigabyte_without_a_newline_is_cut_at_the_limit(engine):
    code = "import sys\nwhile True: sys.stdout.write('x' * 65536)"
    started = time.monotonic()
    result = await engine.execute(code)
    assert (result.status, result.output_truncated) == ("output_limit", True)
    assert result.output == "x" * MIB
    assert time.monotonic() - started < 20


async def test_a_program_may_close_its_streams_and_go_on(engine):
    code = (
        "import os, time\nprint('before')\nos.close(1)\nos.close(2)\ntime.sleep(0.3)\n"
        "open('late.txt', 'w').write('went on')\nos._exit(3)"
    )
    result = await engine.execute(code, collect=["late.txt"])
    assert (result.status, result.exit_code, result.output) == ("error", 3, "before\n")
    assert [file.content for file in result.files] == [b"went on"]


async def test_a_program_that_ignores_sigterm_is_stopped_in_time(engine):
    code = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('deaf')\ntime.sleep(60)"
    for timeout in (1, 20):  # the second where a busy machine has not let it print before the first
        started = time.monotonic()
        result = await engine.execute(code, timeout=timeout)
        if result.output:
            break
    assert (result.status, result.output, result.exit_code) == ("timeout", "deaf\n", None)
    assert time.monotonic() - started < timeout + 15


async def test_a_fork_bomb_ends_at_the_process_limit(engine):
    code = "echo started\nbomb() { bomb | bomb & }\nbomb\nwhile :; do sleep 0.1; done"
    for timeout in (3, 20):  # the second where a busy machine has not let it print before the first
        result = await engine.execute(code, language="bash", timeout=timeout)
        if result.output:
            break
    # The shell that cannot fork gives up, or the time is over.
    assert result.status in ("timeout", "error", "killed", "output_limit")
    assert result.output.startswith("started\n")


async def test_a_daemonised_grandchild_does_not_outlive_the_program(engine):
    code = (
        "import os, time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n"
        "        time.sleep(60)\n    os._exit(0)\nprint('done')"
    )
    started = time.monotonic()
    result = await engine.execute(code)
    assert (result.status, result.output) == ("success", "done\n")
    assert time.monotonic() - started < 20


async def test_filling_the_scratch_space_is_the_programs_error(engine):
    code = "print('writing')\nwith open('big', 'wb') as f:\n    while True: f.write(bytes(65536))"
    result = await engine.execute(code)
    assert (result.status, result.output) == ("error", "writing\n")
    assert "No space left on device" in result.error


async def test_inodes_run_out_before_the_host_does(engine):
    code = "try:\n    for i in range(10**6): open(str(i), 'w').close()\nexcept OSError as error:\n    print(error)"
    result = await engine.execute(code, timeout=25)
    # Docker's tmpfs has as many as half the host's memory has pages: there it is memory that runs out.
    assert (result.status, result.output[:10]) == ("success", "[Errno 28]") or result.status == "out_of_memory"


async def test_too_much_memory_is_out_of_memory(engine):
    result = await engine.execute("print('hungry')\nx = bytearray(10**9)\nprint(len(x))")
    assert (result.status, result.output) == ("out_of_memory", "hungry\n")


async def test_a_child_killed_for_memory_under_a_parent_that_exits_0_is_a_success(engine):
    code = (
        "import subprocess, sys\n"
        "child = subprocess.run([sys.executable, '-c', 'x = bytearray(10**9)'])\nprint(child.returncode)"
    )
    result = await engine.execute(code)
    assert (result.status, result.output, result.exit_code) == ("success", "-9\n", 0)
    assert result.usage.oom_kills


async def test_a_program_that_kills_all_it_can_is_killed(engine):
    result = await engine.execute("import os\nprint('bye', flush=True)\nos.kill(-1, 9)", timeout=60)
    assert (result.status, result.output) == ("killed", "bye\n")


async def test_a_cancelled_call_leaves_nothing(engine):
    call = asyncio.create_task(engine.execute("import time; time.sleep(60)"))
    await asyncio.sleep(0.4)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call


async def test_a_network_that_the_backend_cannot_isolate_is_refused(engine, backend):
    from xagent_core import NetworkPolicy

    request = ExecutionRequest(code="print('reached')", network=NetworkPolicy.INTERNET)
    if backend == "bubblewrap":
        with pytest.raises(PolicyNotSupportedError, match="network"):
            await engine.execute(request)
    else:
        assert (await engine.execute(request)).ok
