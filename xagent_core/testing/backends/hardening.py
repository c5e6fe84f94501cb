"""The hardening list: what one program inside saw when it tried everything that must not work."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from importlib import resources
from pathlib import Path
from typing import Any, Final

import pytest_asyncio

from xagent_core.engine import Engine
from xagent_core.testing.backends.common import BackendSuite, new_mark, processes, read_until, started
from xagent_core.types import MIB, Limits

__all__ = ["HardeningConformance", "survey"]

_SCRATCH: Final = 8 * MIB
_NAMESPACES: Final = ("cgroup", "ipc", "mnt", "net", "pid", "uts")
# What every program may have in its environment: the guest's few, a shell's, and the sandbox's own name.
_ENVIRONMENT: Final = frozenset(
    "HOME LANG PATH TMPDIR PWD OLDPWD SHLVL _ HOSTNAME container PYTHONUNBUFFERED LC_CTYPE".split()
)
_DEVICES: Final = frozenset(f"/dev/{name}" for name in "null zero full random urandom ptmx pts/ptmx".split())

_HOST_PATHS: Final = (str(Path.home()), str(Path.cwd()), str(Path(__file__).parent))


class HardeningConformance(BackendSuite, suite=True):
    """One line of the list, one test."""

    @pytest_asyncio.fixture(scope="class", loop_scope="class")
    @classmethod
    async def seen(cls, engine: Engine) -> AsyncIterator[dict[str, Any]]:
        """What the survey has printed inside."""
        yield await survey(engine)

    async def test_nothing_but_scratch_is_writable(self, seen: dict[str, Any]) -> None:
        """The root is read-only; shared memory and message queues are scratch too."""
        assert "ro" in seen["mounts"]["/"]["flags"]
        assert set(seen["writable"]) <= {"/tmp", "/dev/shm", "/dev/mqueue"}
        assert "/tmp" in seen["writable"]
        assert seen["opened"] == []

    async def test_scratch_is_a_tmpfs_that_executes_nothing(self, seen: dict[str, Any]) -> None:
        """With nosuid, nodev and noexec, of mode 1777; shared memory executes nothing either."""
        scratch = seen["mounts"]["/tmp"]
        assert scratch["kind"] == "tmpfs"
        assert {"nosuid", "nodev", "noexec"} <= set(scratch["flags"])
        assert seen["scratch_mode"] == 0o1777
        assert set(seen["executes"].values()) == {"EACCES"}, seen["executes"]

    async def test_scratch_executes_for_a_language_that_compiles(self, engine: Engine) -> None:
        """`scratch_exec` takes noexec away, and nothing else."""
        script = "cd /tmp; printf '#!/bin/sh\\necho ran\\n' >x; chmod +x x; ./x; grep ' /tmp ' /proc/self/mountinfo"
        async with started(engine, "sh", "-c", script, scratch_exec=True) as sandbox:
            seen = (await read_until(sandbox, lambda _: False))["stdout"]
        assert seen.startswith(b"ran\n")
        assert b"nosuid,nodev" in seen

    async def test_the_user_is_nobody_special(self, seen: dict[str, Any]) -> None:
        """Not root, to itself and to the kernel; no capabilities, and no way to gain any."""
        assert 0 not in seen["ids"]
        status = seen["status"]
        assert {status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
        assert status["NoNewPrivs"] == "1"

    async def test_to_the_kernel_the_user_is_not_root(self, engine: Engine) -> None:
        """As this machine sees the first process and its children, whatever a user namespace shows inside."""
        mark = new_mark()
        async with started(engine, "sh", "-c", "sleep 1000 & echo up; wait", mark) as sandbox:
            await read_until(sandbox, lambda seen: b"up\n" in seen["stdout"])
            pids = processes(mark)
            inside = [pid for pid in pids if _namespace("pid", pid) != _namespace("pid")]
            assert inside
            assert 0 not in {number for pid in inside for number in _uids(pid)}

    async def test_dangerous_system_calls_are_closed(self, seen: dict[str, Any]) -> None:
        """A filter is on, and refuses what programs do not need and what exploits are made of."""
        assert seen["status"]["Seccomp"] == "2"
        assert {name: answer for name, answer in seen["calls"].items() if answer not in ("ENOSYS", "EPERM")} == {}
        assert seen["kernel_log"] in ("EPERM", -1)

    async def test_sockets_are_of_four_families(self, seen: dict[str, Any]) -> None:
        """Local, IPv4, IPv6 and netlink: no way to the machine's bus, its host, or its hardware."""
        assert set(seen["families"]) <= {1, 2, 10, 16}
        assert {1, 2} <= set(seen["families"])

    async def test_there_is_no_network_but_loopback(self, seen: dict[str, Any]) -> None:
        """And loopback works."""
        assert seen["interfaces"] == ["lo"]
        assert seen["outside"] in ("ENETUNREACH", "EHOSTUNREACH")
        assert seen["loopback"] == "127.0.0.1"

    async def test_every_namespace_is_its_own(self, seen: dict[str, Any]) -> None:
        """None is shared with this process."""
        assert {name for name in _NAMESPACES if seen["namespaces"][name] == _namespace(name)} == set()

    async def test_only_its_own_processes_are_there(self, seen: dict[str, Any]) -> None:
        """The guest is process 1, and few others are there."""
        assert 1 in seen["processes"]
        assert len(seen["processes"]) < 10
        assert "xagent" in seen["texts"]["/proc/1/cmdline"]

    async def test_nothing_of_the_hosts_environment_is_there(self, seen: dict[str, Any]) -> None:
        """Neither in the program's nor in the first process's."""
        first = {entry.partition("=")[0] for entry in seen["first_environment"].split("\0") if entry}
        assert set(seen["environment"]) <= _ENVIRONMENT
        assert first <= _ENVIRONMENT

    async def test_no_path_of_the_host_is_shown(self, seen: dict[str, Any]) -> None:
        """Neither this user's home nor this folder; no engine's socket."""
        secrets = {*_HOST_PATHS} - {"/"}
        shown = [secret for secret in secrets if any(secret in str(text) for text in seen["texts"].values())]
        assert shown == []
        assert seen["sockets"] == []

    async def test_no_descriptor_is_inherited(self, seen: dict[str, Any]) -> None:
        """A program has its three streams, and the guest copies of its own."""
        # One more is the folder that is being listed, and gone when it is looked at.
        assert {n for n, target in seen["descriptors"]["self"].items() if target != "ENOENT"} <= {"0", "1", "2"}
        first = seen["descriptors"]["1"].values()
        assert not [target for target in first if not target.startswith(("pipe:", "socket:", "/dev/null"))]

    async def test_no_device_and_no_terminal_can_be_opened(self, seen: dict[str, Any]) -> None:
        """But those that give or take bytes."""
        assert set(seen["devices"]) <= _DEVICES
        assert seen["tty"][:3] == [False] * 3
        assert seen["tty"][3] in ("ENXIO", "ENOENT", "EACCES", "EPERM")

    async def test_the_kernels_keys_are_out_of_reach(self, seen: dict[str, Any]) -> None:
        """None is shown."""
        assert "keyring" not in seen["keys"]

    async def test_cores_descriptors_and_file_sizes_are_limited(self, seen: dict[str, Any]) -> None:
        """No core is written, a file is no larger than scratch, and 1024 are open at most."""
        assert seen["limits"]["CORE"] == [0, 0]
        assert seen["limits"]["NOFILE"] == [1024, 1024]
        assert 0 < max(seen["limits"]["FSIZE"]) <= 16 * MIB

    async def test_signals_are_as_a_program_expects(self, seen: dict[str, Any]) -> None:
        """None is ignored or blocked, but what Python itself ignores (SIGPIPE and SIGXFSZ).

        Signals 32 and 33 are the C library's own, which no program can use: its posix_spawn may have a child ignore
        them, and then the children of an engine's service do so too.
        """
        python, library = (1 << 12) | (1 << 24), (1 << 31) | (1 << 32)
        assert int(seen["status"]["SigIgn"], 16) & ~(python | library) == 0
        assert int(seen["status"]["SigBlk"], 16) == 0

    async def test_an_environment_of_this_process_is_not_passed_on(self, engine: Engine) -> None:
        """What is set here, after the engine was opened, is not seen inside either."""
        os.environ["XAGENT_CONFORMANCE"] = "secret"
        try:
            async with started(engine, "env") as sandbox:
                seen = await read_until(sandbox, lambda _: False)
        finally:
            del os.environ["XAGENT_CONFORMANCE"]
        assert b"PATH=" in seen["stdout"]
        assert b"XAGENT_CONFORMANCE" not in seen["stdout"]


async def survey(engine: Engine) -> dict[str, Any]:
    """Runs the survey in a sandbox."""
    program = resources.files("xagent_core.testing.backends").joinpath("survey.py").read_text("utf-8")
    held = (await engine.backend.capabilities()).limits
    limits = Limits(scratch=_SCRATCH if "scratch" in held else None, cpus=2.0 if "cpus" in held else None)
    result = await engine.execute(program, limits=limits)
    assert result.ok, result
    seen: dict[str, Any] = json.loads(result.output)
    return seen


def _namespace(name: str, pid: int | str = "self") -> str:
    return str(Path(f"/proc/{pid}/ns/{name}").readlink())


def _uids(pid: int) -> list[int]:
    """The real, effective, saved and file system user of a process."""
    lines = Path(f"/proc/{pid}/status").read_text("utf-8").splitlines()
    return next([int(word) for word in line.split()[1:]] for line in lines if line.startswith("Uid:"))
