"""The fork server: a small process of its own that prepares each sandbox and becomes its bwrap.

It runs as a script with nothing but the standard library, one for each backend object. What needs privileges or a
private mount namespace is done here, once where it can be: bwrap itself can mount no tmpfs `noexec`, and run by root
it would leave root inside. It is forked from, and not from the engine's process, because it is small, has one thread,
and dies with its owner: its end kills every bwrap (they ask for that), and the end of a bwrap's first process all
others inside.

Requests and replies are one packet each on a socket, made with `marshal`: both ends are the same interpreter.
"""

# Paths are plain strings here: pathlib would double the time to start, and what each fork costs.
# ruff: noqa: PTH101, PTH102, PTH103, PTH106, PTH112, PTH118, PTH120, PTH123, PTH208, PTH211

from __future__ import annotations

import array
import contextlib
import ctypes
import fcntl
import gc
import marshal
import os
import resource
import select
import signal
import socket
import sys
import time
from typing import Any, NoReturn

# linux/sched.h, linux/mount.h, linux/prctl.h, linux/keyctl.h
_CLONE_NEWNS = 0x00020000
_CLONE_NEWUSER = 0x10000000
_MS_NOSUID, _MS_NODEV, _MS_NOEXEC = 2, 4, 8
_MS_BIND, _MS_REC, _MS_PRIVATE, _MS_SLAVE = 4096, 16384, 1 << 18, 1 << 19
_PR_SET_NO_NEW_PRIVS = 38
_KEYCTL_JOIN_SESSION_KEYRING = 1
_SYS_KEYCTL = {"x86_64": 250, "aarch64": 219, "riscv64": 219, "ppc64le": 271, "s390x": 280, "armv7l": 311}
_SYS_RT_SIGACTION = {"x86_64": 13, "aarch64": 134, "riscv64": 134, "ppc64le": 173, "s390x": 174, "armv7l": 174}

BASE = "/sys"
"""Mounted over in a mount namespace of our own: every Linux has the folder, and no sandbox is shown the host's."""
SCRATCH = f"{BASE}/scratch"
READY_FD, SECCOMP_FD = 3, 4
_PACKET = 1 << 18  # more than a socket's buffer takes by default
_CLEAN_UP_SECONDS = 5.0

_libc = ctypes.CDLL(None, use_errno=True)


def receive(channel: socket.socket, size: int) -> tuple[bytes, list[int]]:
    """One packet and the descriptors with it, which no program that is started gets (`socket.recv_fds` cannot)."""
    packet, messages, _, _ = channel.recvmsg(size, socket.CMSG_SPACE(8 * 4), socket.MSG_CMSG_CLOEXEC)
    descriptors = array.array("i")
    for _, kind, data in messages:
        if kind == socket.SCM_RIGHTS:
            descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
    return packet, list(descriptors)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    arguments = [text.encode() or None for text in (source, target, kind)]
    _check(_libc.mount(*arguments, ctypes.c_ulong(flags), data.encode() or None), f"mount {source or kind} on {target}")


def _write(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def _default_signals() -> None:
    """Undoes what Python, nohup and shells ignore, which programs would inherit."""
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_DFL)
    # The C library keeps these to itself and lets nobody set them; its posix_spawn has a child ignore them.
    sigaction = _SYS_RT_SIGACTION.get(os.uname().machine)
    for internal in set(range(32, signal.NSIG)) - signal.valid_signals() if sigaction is not None else ():
        _check(_libc.syscall(sigaction, internal, bytes(64), None, 8), f"reset signal {internal}")  # 0 is SIG_DFL
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _own_namespaces(*, user: bool) -> None:
    """Leaves the caller's mount namespace; an ordinary user needs a user namespace for that.

    Each sandbox gets one of its own: from Linux 5.14 on, RLIMIT_NPROC counts the processes of a user namespace.
    """
    if not user:
        _check(_libc.unshare(_CLONE_NEWNS), "unshare the mount namespace")
        return
    uid, gid = os.geteuid(), os.getegid()
    _check(_libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNS), "unshare the user namespace")
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"0 {uid} 1")
    _write("/proc/self/gid_map", f"0 {gid} 1")


class _Server:
    """Answers requests until its owner is gone."""

    def __init__(self, channel: socket.socket, *, user: bool) -> None:
        self._channel = channel
        self._user = user
        self._roots: dict[str, str] = {}
        self._groups: set[str] = set()

    def set_up(self, cgroups: str) -> None:
        # The way to the control groups is about to be mounted over: from here it is a relative one.
        os.chdir(cgroups)
        # The keys of the user who started us must not be the sandboxes': they would possess them.
        keyctl = _SYS_KEYCTL.get(os.uname().machine)
        if keyctl is not None:
            _libc.syscall(keyctl, _KEYCTL_JOIN_SESSION_KEYRING, None)
        _own_namespaces(user=self._user)
        # What the host unmounts is unmounted here, too, where its mounts are shared, as systemd has them: no disk may
        # stay busy for as long as we run.
        _mount("", "/", "", _MS_REC | _MS_SLAVE)
        _mount("tmpfs", BASE, "tmpfs", _MS_NOSUID | _MS_NODEV, "mode=0755,size=64m")
        os.mkdir(SCRATCH)

    def serve(self) -> None:
        owner = os.pidfd_open(os.getppid())
        poll = select.poll()
        poll.register(self._channel, select.POLLIN)
        poll.register(owner, select.POLLIN)
        while not any(ready == owner for ready, _ in poll.poll()):
            packet, descriptors = receive(self._channel, _PACKET)
            if not packet:
                return
            self._answer(marshal.loads(packet), descriptors)  # noqa: S302 - from our owner
            for descriptor in descriptors:
                os.close(descriptor)

    def _answer(self, request: dict[str, Any], descriptors: list[int]) -> None:
        """Forks; the child becomes bwrap. The reply carries a handle on it, since its end is noticed nowhere else."""
        try:
            for name, entries in request["roots"]:
                self._make_root(name, entries)
            self._groups.update(os.path.dirname(folder) for folder, _ in request["cgroups"])
            pid = os.fork()
        except OSError as error:
            self._channel.send(marshal.dumps((0, str(error))), socket.MSG_NOSIGNAL)
            return
        if pid == 0:
            self._become_bwrap(request, descriptors)
        handle = os.pidfd_open(pid)
        with contextlib.suppress(BrokenPipeError):  # the next thing it hears is that the owner is gone
            self._channel.sendmsg(
                [marshal.dumps((pid, ""))],
                [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [handle]))],
                socket.MSG_NOSIGNAL,
            )
        os.close(handle)

    def _make_root(self, name: str, entries: tuple[tuple[str, str, Any], ...]) -> None:
        """Makes a folder that sandboxes get read-only; once for all that share it."""
        if name in self._roots:
            return
        # A number of its own for each try: what a failed one left is in nobody's way.
        root = f"{BASE}/view{len(os.listdir(BASE))}"
        os.mkdir(root)
        for kind, path, value in entries:
            _put(kind, root + path, value)
        self._roots[name] = root

    def _become_bwrap(self, request: dict[str, Any], descriptors: list[int]) -> NoReturn:
        try:
            for number, descriptor in enumerate((*descriptors, _memory_file(request["seccomp"]))):
                os.dup2(descriptor, number, inheritable=True)
            _join_cgroups(request["cgroups"])
            os.chdir("/")
            _own_namespaces(user=self._user)
            # What the host mounts from now on, over a device say, must not come to be in a sandbox.
            _mount("", "/", "", _MS_REC | _MS_PRIVATE)
            flags = _MS_NOSUID | _MS_NODEV | (0 if request["exec"] else _MS_NOEXEC)
            _mount("tmpfs", SCRATCH, "tmpfs", flags, request["tmpfs"])
            for name in ("tmp", "shm"):
                os.mkdir(f"{SCRATCH}/{name}")
                os.chmod(f"{SCRATCH}/{name}", 0o1777)  # noqa: S103 - a sandbox's own
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for name, value in request["rlimits"]:
                most = resource.getrlimit(name)[1]
                least = value if most == resource.RLIM_INFINITY else min(value, most)
                resource.setrlimit(name, (least, least))
            uid = request["uid"]
            if uid and not self._user:
                uid += os.getpid() if request["uid_by_pid"] else 0
                os.setgroups([])
                os.setresgid(uid, uid, uid)
                os.setresuid(uid, uid, uid)
            _check(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
            program, *arguments = (self._roots[word[0]] + word[1] if isinstance(word, tuple) else word
                                   for word in request["argv"])  # fmt: skip
            os.execve(program, ["bwrap", *arguments], {})  # noqa: S606
        except BaseException as error:
            os.write(2, f"{error}\n".encode())
        os._exit(125)

    def clean_up(self) -> None:
        """Ends what still runs, and removes its control groups: the owner may have had no chance to."""
        end = time.monotonic() + _CLEAN_UP_SECONDS
        left = {folder for folder in self._groups if os.path.isdir(folder)}
        while left and time.monotonic() < end:
            for folder in tuple(left):
                for name in (*_folders(folder), ""):
                    group = os.path.join(folder, name)
                    with contextlib.suppress(OSError):
                        _kill_all(group)
                        os.rmdir(group)
                if not os.path.isdir(folder):
                    left.remove(folder)
            time.sleep(0.005)


def _folders(folder: str) -> list[str]:
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    return []


def _kill_all(group: str) -> None:
    with open(f"{group}/cgroup.procs") as file:
        for line in file:
            os.kill(int(line), signal.SIGKILL)


def _memory_file(content: bytes) -> int:
    descriptor = os.memfd_create("seccomp", os.MFD_CLOEXEC)
    os.write(descriptor, content)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _put(kind: str, path: str, value: Any) -> None:
    if kind == "folder" or (kind == "bind" and os.path.isdir(value)):
        os.makedirs(path, 0o755, exist_ok=True)
    elif kind == "link":
        os.symlink(value, path)
    elif kind == "copy":
        with open(value, "rb") as source, open(path, "wb") as file:
            file.write(source.read())
    else:
        with open(path, "wb") as file:
            file.write(value if kind == "file" else b"")
    if kind == "bind":
        _mount(value, path, "", _MS_BIND | _MS_REC)
        # What the host mounts later is no part of it.
        _mount("", path, "", _MS_PRIVATE | _MS_REC)


def _join_cgroups(groups: tuple[tuple[str, tuple[tuple[str, str], ...]], ...]) -> None:
    """Makes the groups, and moves this process, of one thread, into them: `settings` end with the file for that."""
    for folder, settings in groups:
        os.mkdir(folder)
        for name, value in settings:
            _write(f"{folder}/{name}", value)


def main() -> None:
    """Serves the socket whose number is the first argument; the others say how.

    They are `user` where a user namespace is needed (else `root`), and the folder of the control groups' mounts.
    """
    given = int(sys.argv[1])
    # The numbers that a bwrap's own descriptors will get are kept free of others.
    high = fcntl.fcntl(given, fcntl.F_DUPFD_CLOEXEC, SECCOMP_FD + 1)
    os.close(given)
    for number in range(3, SECCOMP_FD + 1):
        os.dup2(0, number, inheritable=False)
    channel = socket.socket(fileno=high)
    os.umask(0o022)
    server = _Server(channel, user=sys.argv[2] == "user")
    try:
        server.set_up(sys.argv[3])
    except OSError as error:
        channel.send(marshal.dumps((0, str(error))))
        sys.exit(1)
    _default_signals()
    # Ended children vanish by themselves; who waits for one has a handle on it.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    channel.send(marshal.dumps((os.getpid(), "")))
    gc.freeze()
    try:
        server.serve()
    finally:
        server.clean_up()


if __name__ == "__main__":
    main()
