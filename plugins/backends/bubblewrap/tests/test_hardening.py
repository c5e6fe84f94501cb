"""Each line of the hardening list, tried from the inside by a program that wants what it must not have."""

from __future__ import annotations

import asyncio
import ctypes
import functools
import json
import os
import platform
import signal
import struct
import sys
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
NUMBERS = {"x86_64": dict(add_key=248, keyctl=250, io_uring_setup=425, mount=165, bpf=321, ptrace=101, clone=56),
           "aarch64": dict(add_key=217, keyctl=219, io_uring_setup=425, mount=40, bpf=280, ptrace=117, clone=220)}
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


# The five holes of a plain `bwrap --unshare-all --clearenv`.


async def test_the_callers_environment_is_not_in_that_of_the_first_process(
    inside: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A_SECRET", "of the host")
    environ = await inside("import json; print(json.dumps(open('/proc/1/environ').read()))")
    assert "A_SECRET" not in environ
    assert {entry.partition("=")[0] for entry in environ.split("\0") if entry} == {
        "HOME", "LANG", "PATH", "PWD", "TMPDIR"
    }  # fmt: skip


async def test_to_the_kernel_it_is_no_privileged_user(inside: Callable[..., Any]) -> None:
    uid = await inside("import json; print(json.dumps(open('/proc/self/uid_map').read().split()))")
    assert uid[0] == "1000"
    refused = await inside("""if True:
        import json
        def opens(path):
            try: open(path, "w").close(); return True
            except OSError: return False
        print(json.dumps({path: opens(path) for path in (
            "/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/proc/sys/user/max_user_namespaces",
            "/proc/sys/vm/drop_caches", "/dev/mem", "/usr/bin/python3", "/etc/passwd")}))""")
    assert not any(refused.values()), refused


async def test_no_further_user_namespace_can_be_made(inside: Callable[..., Any]) -> None:
    assert await inside(_CTYPES + """
import ctypes
import json
NEWUSER, NEWNS = 0x10000000, 0x00020000
libc.unshare(NEWUSER | NEWNS)
failed = errno.errorcode[ctypes.get_errno()]
print(json.dumps([failed, call("clone", NEWUSER | 17, 0, 0, 0, 0), call("mount", 0, 0, 0, 0, 0)]))
""") == ["ENOSYS", "ENOSYS", "ENOSYS"]  # fmt: skip


async def test_user_namespaces_are_off_even_for_who_gets_past_the_filter(
    make_engine: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    allow_all = struct.pack("HBBI", 0x06, 0, 0, 0x7FFF0000)
    monkeypatch.setattr("xagent_bubblewrap.backend.compile_filter", lambda _: allow_all)
    async with make_engine() as engine:
        result = await engine.execute("unshare --user true", language="sh")
    assert "unshare failed: No space left on device" in result.error


async def test_a_system_call_filter_is_on(inside: Callable[..., Any]) -> None:
    status = await inside("""if True:
        import json
        lines = (line.split(":", 1) for line in open("/proc/self/status"))
        print(json.dumps({name: value.strip() for name, value in lines}))""")
    assert status["Seccomp"] == "2"
    assert status["NoNewPrivs"] == "1"
    assert {status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}


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


@pytest.mark.parametrize("name", ["io_uring_setup", "bpf", "ptrace"])
async def test_dangerous_calls_are_closed(inside: Callable[..., Any], name: str) -> None:
    assert await inside(_CTYPES + f"import json; print(json.dumps(call({name!r}, 0, 0, 0, 0, 0)))") == "ENOSYS"


async def test_sockets_are_of_four_families(inside: Callable[..., Any]) -> None:
    made = await inside("""if True:
        import json, socket
        made = []
        for family in range(46):
            try: socket.socket(family, socket.SOCK_STREAM if family != 16 else socket.SOCK_RAW).close()
            except OSError: continue
            made.append(family)
        print(json.dumps(made))""")
    assert set(made) <= {1, 2, 10, 16}
    assert {1, 2} <= set(made)


async def test_there_is_no_network_but_loopback(inside: Callable[..., Any]) -> None:
    names, error = await inside("""if True:
        import json, socket
        try: socket.create_connection(("192.0.2.1", 80), timeout=2); error = None
        except OSError as e: error = e.strerror
        print(json.dumps([[name for _, name in socket.if_nameindex()], error]))""")
    assert names == ["lo"]
    assert error == "Network is unreachable"


async def test_all_but_the_scratch_space_is_read_only(engine: Engine) -> None:
    result = await engine.execute(
        "for d in / /usr /usr/bin /etc /opt /var /home /root /dev /proc /tmp /dev/shm; do"
        " if ( : >$d/x ) 2>/dev/null; then echo $d; fi; done",
        language="sh",
    )
    assert result.output.split() == ["/tmp", "/dev/shm"]


async def test_the_scratch_space_executes_nothing(engine: Engine) -> None:
    result = await engine.execute(
        "cp /usr/bin/true t && ./t; echo $?; cp /usr/bin/true /dev/shm/t && /dev/shm/t; echo $?", language="sh"
    )
    assert result.output.split() == ["126", "126"], result


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


async def test_no_path_of_the_host_is_shown(inside: Callable[..., Any]) -> None:
    shown = await inside("""if True:
        import json
        files = "/proc/self/mountinfo", "/proc/1/cmdline", "/proc/self/cgroup"
        print(json.dumps([open(file).read() for file in files]))""")
    for secret in (str(Path.home()), str(Path(__file__).parents[1]), "xagent-"):
        assert not any(secret in text for text in shown), secret


async def test_no_descriptor_is_inherited(inside: Callable[..., Any]) -> None:
    # 3 is the folder that is being listed.
    assert await inside("import json, os; print(json.dumps(sorted(os.listdir('/proc/self/fd'))))") == list("0123")
    first = await inside("""if True:
        import json, os
        print(json.dumps([os.readlink(f"/proc/1/fd/{n}") for n in os.listdir("/proc/1/fd")]))""")
    assert not any("socket" in target for target in first), first


def _namespace(name: str) -> str:
    return str(Path("/proc/self/ns", name).readlink())


async def test_every_namespace_is_its_own(inside: Callable[..., Any]) -> None:
    theirs = await inside("""if True:
        import json, os
        print(json.dumps({name: os.readlink(f"/proc/self/ns/{name}") for name in os.listdir("/proc/self/ns")}))""")
    shared = {name for name, link in theirs.items() if _namespace(name) == link}
    assert shared <= {"time", "time_for_children"}


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


async def test_a_fork_bomb_is_held(engine: Engine) -> None:
    result = await engine.execute(
        """if True:
        import os, time
        made = 0
        try:
            while made < 1000:
                if os.fork() == 0:
                    time.sleep(60)
                    os._exit(0)
                made += 1
        except OSError as error:
            print(made, error.strerror)""",
        language="python",
        limits=Limits(processes=20),
    )
    made, _, why = result.output.partition(" ")
    assert 5 < int(made) < 20
    assert "temporarily unavailable" in why


async def test_two_sandboxes_do_not_share_their_processes(engine: Engine) -> None:
    code = """if True:
        import os, time
        for _ in range(20):
            if os.fork() == 0:
                time.sleep(2); os._exit(0)
        time.sleep(1)
        print("made all")"""
    limits = Limits(processes=30)
    results = await asyncio.gather(*(engine.execute(code, language="python", limits=limits) for _ in range(3)))
    assert [result.output for result in results] == ["made all\n"] * 3, results


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


async def test_cpus_are_limited(make_engine: Callable[..., Engine]) -> None:
    code = """if True:
        import time
        wall, cpu = time.monotonic(), time.process_time()
        while time.monotonic() < wall + 1.5: pass
        print((time.process_time() - cpu) / (time.monotonic() - wall))"""
    async with make_engine() as engine:
        capabilities = await engine.backend.capabilities()
        if "cpus" not in capabilities.limits:
            pytest.skip("this user can make no control group: see test_limits")
        result = await engine.execute(code, language="python", cpu_limit=0.25)
    assert float(result.output) < 0.4
