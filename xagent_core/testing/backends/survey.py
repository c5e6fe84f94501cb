"""Runs inside a sandbox: tries what must not work, and prints all that it saw as one JSON object.

Nothing but the standard library is there. What fails is reported by the name of its error.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import platform
import resource
import socket
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

libc = ctypes.CDLL(None, use_errno=True)

# Numbers on x86-64 and on arm64, from the kernel's tables; from 424 on they are the same.
CALLS = {
    "add_key": (248, 217), "bpf": (321, 280), "chroot": (161, 51), "clone_newuser": (56, 220),
    "fsopen": (430, 430), "init_module": (175, 105), "io_uring_setup": (425, 425), "kexec_load": (246, 104),
    "keyctl": (250, 219), "mount": (165, 40), "open_by_handle_at": (304, 265), "open_tree": (428, 428),
    "perf_event_open": (298, 241), "pivot_root": (155, 41), "process_vm_readv": (310, 270), "ptrace": (101, 117),
    "reboot": (169, 142), "request_key": (249, 218), "setns": (308, 268), "swapon": (167, 224),
    "umount2": (166, 39), "unshare_newuser": (272, 97), "userfaultfd": (323, 282),
}  # fmt: skip
NEWUSER = 0x10000000
ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "add_key": (b"user", b"x", b"y", 1, -3),
    "chroot": (b"/tmp",),
    "clone_newuser": (NEWUSER | 17, 0, 0, 0, 0),
    "keyctl": (0, -3, 1),
    "mount": (b"x", b"/tmp", b"tmpfs", 0, 0),
    "open_tree": (-100, b"/", 0),
    "umount2": (b"/proc", 2),
    "unshare_newuser": (NEWUSER,),
}
FORBIDDEN_FILES = (
    "/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/proc/sys/user/max_user_namespaces",
    "/proc/sys/vm/drop_caches", "/dev/mem", "/dev/kmsg", "/etc/passwd", "/etc/ld.so.preload",
    "/usr/bin/env", "/sys/kernel/uevent_helper", "/sys/fs/cgroup/cgroup.procs", "/sys/fs/cgroup/memory.max",
)  # fmt: skip
ENGINE_SOCKETS = (
    "/run/docker.sock", "/var/run/docker.sock", "/run/podman/podman.sock", "/run/containerd/containerd.sock",
    "/run/crio/crio.sock", "/run/dbus/system_bus_socket", "/run/systemd/private",
)  # fmt: skip


def attempt(action: Callable[[], object]) -> object:
    """What it gives, as far as JSON can hold it, or the name of its error."""
    try:
        return action()
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, type(error).__name__)


def call(name: str) -> str:
    """Makes a system call by its number, since nothing in the standard library offers these."""
    number = CALLS[name][platform.machine() == "aarch64"]
    ctypes.set_errno(0)
    result = libc.syscall(number, *ARGUMENTS.get(name, (0, 0, 0, 0, 0)))
    if result == 0 and name.startswith("clone"):
        os._exit(0)  # the child, which there should not be
    return "worked" if result >= 0 else errno.errorcode[ctypes.get_errno()]


def writes(path: str) -> bool:
    """Whether a file there can be opened for writing; nothing is written."""
    try:
        os.close(os.open(path, os.O_WRONLY))
    except OSError:
        return False
    return True


def writable_folders() -> list[str]:
    """The folders in which a file can be made."""
    found = []
    for folder, names, _ in os.walk("/"):
        if folder in ("/proc", "/tmp"):
            names.clear()
        if folder != "/proc" and os.access(folder, os.W_OK):
            made = Path(folder, "x-survey")
            try:
                made.touch()
                made.unlink()
            except OSError:
                continue
            found.append(folder)
    return sorted(found)


def executes(folder: str) -> object:
    """Whether a program in that folder can be run."""
    program = Path(folder, "x-program")
    program.write_text("#!/bin/sh\nexit 0\n")
    program.chmod(0o755)
    try:
        return attempt(lambda: os.waitpid(os.posix_spawn(program, [str(program)], {}), 0)[1])
    finally:
        program.unlink()


def families() -> list[int]:
    """The families of sockets that can be made."""
    found = []
    for family in range(46):
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW):
            try:
                socket.socket(family, kind).close()
            except OSError:
                continue
            found.append(family)
            break
    return found


def descriptors(pid: str) -> dict[str, object]:
    """What the open descriptors of a process lead to."""
    names = attempt(lambda: os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208
    found = names if isinstance(names, list) else []
    return {name: attempt(lambda name=name: os.readlink(f"/proc/{pid}/fd/{name}")) for name in found}  # type: ignore[misc] # noqa: PTH115


def devices() -> list[str]:
    """Block devices, and others that can be opened."""
    found = []
    for path in Path("/dev").rglob("*"):
        mode = path.lstat().st_mode
        if stat.S_ISBLK(mode) or (stat.S_ISCHR(mode) and path.name != "tty" and os.access(path, os.R_OK | os.W_OK)):
            found.append(str(path))
    return sorted(found)


def read(path: str) -> object:
    """A file's text."""
    return attempt(lambda: Path(path).read_text("utf-8", "replace"))


def main() -> None:
    """Prints everything."""
    status = (line.partition(":") for line in Path("/proc/self/status").read_text("utf-8").splitlines())
    mounts = (line.split(" - ") for line in Path("/proc/self/mountinfo").read_text("utf-8").splitlines())
    seen = {
        "descriptors": {pid: descriptors(pid) for pid in ("self", "1")},
        "calls": {name: call(name) for name in CALLS},
        "status": {name: value.strip() for name, _, value in status},
        "ids": [os.getuid(), os.geteuid(), os.getgid(), *os.getgroups()],
        "mounts": {
            left.split()[4]: {"kind": right.split()[0], "flags": [*left.split()[5].split(","), right.split()[-1]]}
            for left, right in mounts
        },
        "writable": writable_folders(),
        "opened": [path for path in FORBIDDEN_FILES if writes(path)],
        "executes": {folder: executes(folder) for folder in ("/tmp", "/dev/shm") if os.access(folder, os.W_OK)},
        "scratch_mode": stat.S_IMODE(Path("/tmp").stat().st_mode),
        "families": families(),
        "interfaces": attempt(lambda: [name for _, name in socket.if_nameindex()]),
        "outside": attempt(lambda: socket.create_connection(("192.0.2.1", 80), timeout=2).close()),
        "loopback": attempt(lambda: socket.create_server(("127.0.0.1", 0)).getsockname()[0]),
        "namespaces": {
            name: os.readlink(f"/proc/self/ns/{name}")  # noqa: PTH115
            for name in os.listdir("/proc/self/ns")  # noqa: PTH208
        },
        "environment": dict(os.environ),
        "first_environment": read("/proc/1/environ"),
        "processes": [int(name) for name in os.listdir("/proc") if name.isdigit()],  # noqa: PTH208
        "tty": [os.isatty(number) for number in range(3)] + [attempt(lambda: os.close(os.open("/dev/tty", os.O_RDWR)))],
        "limits": {
            name: resource.getrlimit(getattr(resource, f"RLIMIT_{name}")) for name in ("CORE", "NOFILE", "FSIZE")
        },
        "devices": devices(),
        "texts": {path: read(path) for path in ("/proc/self/mountinfo", "/proc/self/cgroup", "/proc/1/cmdline")},
        "keys": read("/proc/keys"),
        "kernel_log": attempt(lambda: libc.klogctl(3, ctypes.create_string_buffer(16), 16)),
        "sockets": [path for path in ENGINE_SOCKETS if Path(path).exists()],
    }
    json.dump(seen, sys.stdout)


if __name__ == "__main__":  # who imports it, as root, would lose the root folder
    main()
