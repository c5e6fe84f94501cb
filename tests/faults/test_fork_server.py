"""The end of bubblewrap's fork server, which is to it what a daemon is to container engines."""

import os
import signal

import pytest

from tests.faults.engine_service import begun
from xagent_core import Engine, PoolConfig, SandboxLostError

pytestmark = pytest.mark.engine("bubblewrap")


async def test_a_job_is_no_failure_of_its_program_and_the_next_one_works():
    async with Engine("bubblewrap", pool=PoolConfig(ready=0)) as engine:
        assert (await engine.execute("echo first", language="bash")).output == "first\n"
        running = await begun(engine, "echo begun; sleep 60")

        os.kill((await engine.backend._opened()).launcher.pid, signal.SIGKILL)

        with pytest.raises(SandboxLostError, match="fork server ended") as caught:
            await running
        assert caught.value.code_ran == "maybe"
        assert (await engine.execute("echo back", language="bash")).output == "back\n"


async def test_a_program_that_kills_its_guest_is_still_told_from_it():
    async with Engine("bubblewrap", pool=PoolConfig(ready=0)) as engine:
        result = await engine.execute("grep -q xagent /proc/1/cmdline && kill -9 -1", language="bash")
    assert result.status == "killed"
