"""What bwrap alone must be kept from; the hardening list itself is in the suite that test_conformance runs."""

from __future__ import annotations

import ctypes
import functools
import json
import os
import platform
import re
import signal
import struct
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from xagent_core import Engine, Limits
from xagent_core.types import MIB

pytestmark = pytest.mark.engine("bubblewrap")

_SYS_RT_SIGACTION = {"x86_64": 13, "aarch64": 134}
# Calls the kernel by number, as nothing in Python's standard library offers these calls.
_CTYPES = """
import ctypes, errno, os, platform
libc = ctypes.CDLL(None, use_errno=True)
NUMBERS = {"x86_64": dict(add_key=248, keyctl=250), "aarch64": dict(add_key=217, keyctl=219)}
def call(name, *arguments):
    ctypes.set_errno(0)
    result = libc.syscall(NUMBERS[platform.machine()][name], *arguments)
    return "worked" if result >= 0 else errno.errorcode[ctypes.get_errno()]
"""


@pytest.fixture
def inside(engine: Engine) -> Callable[..., Any]:
    """Runs a Python program that prints one JSON value, and gives that value."""

    async def run(code: str, **arguments: Any) -> Any:
        result = await engine.execute(code, language="python", **arguments)
        assert result.status == "success", result
        return json.loads(result.output)

    return run


async def test_user_namespaces_are_off_even_for_who_gets_past_the_filter(
    make_engine: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    allow_all = struct.pack("HBBI", 0x06, 0, 0, 0x7FFF0000)
    monkeypatch.setattr("xagent_bubblewrap.backend.compile_filter", lambda _: allow_all)
    async with make_engine() as engine:
        result = await engine.execute("unshare --user true", language="sh")
    assert "unshare failed: No space left on device" in result.error


async def test_the_kernels_keys_are_out_of_reach(inside: Callable[..., Any], a_key: str) -> None:
    made, read, shown = await inside(_CTYPES + """
import ctypes
import json
try:
    with open("/proc/keys") as file:
        shown = file.read()
except PermissionError:
    shown = ""
print(json.dumps([call("add_key", b"user", b"x", b"y", 1, -3), call("keyctl", 0, -3, 1), shown]))
""")  # fmt: skip
    assert (made, read) == ("ENOSYS", "ENOSYS")
    assert a_key not in shown


@pytest.fixture
def a_key() -> str:
    """A key of whoever runs the tests, in the keyring of their session, which their programs inherit."""
    libc, name = ctypes.CDLL(None, use_errno=True), f"xagent-test-{os.getpid()}"
    number = {"x86_64": 248, "aarch64": 217}[platform.machine()]
    session = -3
    assert libc.syscall(number, b"user", name.encode(), b"secret", 6, session) > 0, os.strerror(ctypes.get_errno())
    assert name in Path("/proc/keys").read_text()
    return name


# The rest of the list.


async def test_mounts_have_their_flags(inside: Callable[..., Any]) -> None:
    mounts = await inside("""if True:
        import json
        print(json.dumps({line.split()[4]: line.split()[5].split(",") for line in open("/proc/self/mountinfo")}))""")
    assert {"nosuid", "nodev", "noexec", "rw"} <= set(mounts["/tmp"])
    assert {"nosuid", "nodev", "noexec", "rw"} <= set(mounts["/dev/shm"])
    assert {"nosuid", "nodev", "ro"} <= set(mounts["/"]) & set(mounts["/usr"])


@pytest.mark.parametrize("path", ["/root", "/home", "/var", "/run", "/sys", "/etc/shadow", "/etc/hostname", "/etc/ssh"])
async def test_nothing_of_the_host_is_there(inside: Callable[..., Any], path: str) -> None:
    content = await inside(f"""if True:
        import json, os
        path = {path!r}
        print(json.dumps(os.listdir(path) if os.path.isdir(path) else
                         open(path).read() if os.path.exists(path) else None))""")
    assert content in (None, "sandbox\n")


async def test_the_first_process_is_the_guest_and_sees_only_its_own(inside: Callable[..., Any]) -> None:
    pids = await inside("import json, os; print(json.dumps([int(n) for n in os.listdir('/proc') if n.isdigit()]))")
    assert 1 in pids
    assert max(pids) < 100
    assert await inside("import socket, json; print(json.dumps(socket.gethostname()))") == "sandbox"


@pytest.fixture
def ignored_signals() -> Iterator[None]:
    """This process ignores what nohup and the C library's posix_spawn (its own signal 32) have a child ignore."""
    syscall = functools.partial(ctypes.CDLL(None).syscall, _SYS_RT_SIGACTION[os.uname().machine])
    before = ctypes.create_string_buffer(64)
    previous = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    assert syscall(32, (1).to_bytes(64, sys.byteorder), before, 8) == 0
    yield
    assert syscall(32, before, None, 8) == 0
    signal.signal(signal.SIGHUP, previous)


async def test_signals_and_masks_are_as_a_program_expects(ignored_signals: None, engine: Engine) -> None:
    result = await engine.execute("grep -E 'Sig(Ign|Blk)' /proc/self/status", language="sh")
    assert {line.split()[1] for line in result.output.splitlines()} == {"0" * 16}, result.output


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can have mounts be shared")
def test_no_mount_follows_the_host_which_may_have_all_of_its_own_shared() -> None:
    script = textwrap.dedent("""\
        import asyncio, conftest
        from xagent_bubblewrap.backend import BubblewrapBackend
        from xagent_core import Engine, PoolConfig

        async def main():
            async with Engine(BubblewrapBackend(), plugins=conftest.own_plugins(), pool=PoolConfig(ready=0)) as engine:
                print((await engine.execute("cat /proc/self/mountinfo", language="sh")).output)

        asyncio.run(main())
        """)
    path = {"PYTHONPATH": str(Path(__file__).parent)}
    command = ["unshare", "--mount", "--propagation", "shared", sys.executable, "-c", script]
    mounts = subprocess.run(command, env=os.environ | path, stdout=subprocess.PIPE, text=True, check=True).stdout
    assert " /dev/null " in mounts
    assert not re.findall("^.* (?:shared|master):.*$", mounts, re.MULTILINE)


# Limits.


async def test_the_scratch_space_is_limited_as_a_whole(engine: Engine) -> None:
    result = await engine.execute(
        "head -c 6000000 /dev/zero >a; echo $?; head -c 6000000 /dev/zero >/dev/shm/b; echo $?; rm a; ls -s /dev/shm/b",
        language="sh",
        limits=Limits(scratch=10 * MIB),
    )
    assert result.output.split()[:2] == ["0", "1"]
    assert "No space left" in result.error


async def test_files_and_descriptors_and_cores_are_limited(inside: Callable[..., Any]) -> None:
    limits = await inside("""if True:
        import json, resource as r
        print(json.dumps({n: r.getrlimit(getattr(r, "RLIMIT_" + n)) for n in ("CORE", "NOFILE", "FSIZE", "NPROC")}))""")
    assert limits["CORE"] == [0, 0]
    assert limits["NOFILE"] == [1024, 1024]
    assert limits["FSIZE"] == [10 * MIB, 10 * MIB]
    assert limits["NPROC"][0] < 100


async def test_memory_is_limited(make_engine: Callable[..., Engine]) -> None:
    async with make_engine() as engine:
        result = await engine.execute("x = bytearray(10**9)", language="python")
        capabilities = await engine.backend.capabilities()
    if "memory" in capabilities.limits:
        assert result.status == "out_of_memory"
        assert result.usage.oom_kills
        assert result.usage.peak_memory is not None
        assert 100 * MIB < result.usage.peak_memory <= 128 * MIB
    else:
        assert "memory" in result.unenforced
        assert "MemoryError" in result.error
