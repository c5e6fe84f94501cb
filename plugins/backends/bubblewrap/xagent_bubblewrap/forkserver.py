"""The fork server: a small process of its own that prepares each sandbox and becomes its bwrap.

It runs as a script with nothing but the standard library, one for each backend object. What needs privileges or a
private mount namespace is done here, once where it can be: bwrap itself can mount no tmpfs `noexec`, and run by root
would leave root inside. It is forked from, and not from the engine's process, because it is small, has one thread,
and dies with its owner; its end kills every bwrap (they ask for that), and each bwrap's end kills what is inside.

Requests and replies are one packet each on a socket, made with `marshal`: both ends are the same interpreter.
"""

from __future__ import annotations

import array
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
from typing import Any, NoReturn

# linux/sched.h, linux/mount.h, linux/prctl.h, linux/keyctl.h
_CLONE_NEWNS = 0x00020000
_CLONE_NEWUSER = 0x10000000
_MS_NOSUID, _MS_NODEV, _MS_NOEXEC = 2, 4, 8
_MS_BIND, _MS_REC, _MS_PRIVATE = 4096, 16384, 1 << 18
_PR_SET_NO_NEW_PRIVS = 38

# Mounted over in a mount namespace of our own: every Linux has the folder, and no sandbox is shown the host's.
BASE = "/sys"
SCRATCH = f"{BASE}/scratch"
READY_FD, SECCOMP_FD = 3, 4
_PACKET = 1 << 20

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
    arguments = [text.encode() if text else None for text in (source, target, kind)]
    _check(_libc.mount(*arguments, ctypes.c_ulong(flags), data.encode() or None), f"mount {source} on {target}")


def _write(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def _own_namespaces(*, user: bool) -> None:
    """Leaves the caller's mount namespace; an ordinary user needs a user namespace for that."""
    if not user:
        _check(_libc.unshare(_CLONE_NEWNS), "unshare")
        return
    uid, gid = os.geteuid(), os.getegid()
    _check(_libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNS), "unshare")
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"0 {uid} 1")
    _write("/proc/self/gid_map", f"0 {gid} 1")


class _Server:
    def __init__(self, channel: socket.socket, *, user: bool) -> None:
        self._channel = channel
        self._user = user
        self._roots: dict[Any, str] = {}

    def set_up(self, cgroups: str) -> None:
        # The way to the control groups is about to be mounted over: from here it is a relative one.
        os.chdir(cgroups)
        _own_namespaces(user=self._user)
        _mount("", "/", "", _MS_REC | _MS_PRIVATE)
        _mount("tmpfs", BASE, "tmpfs", _MS_NOSUID | _MS_NODEV, "mode=0755,size=1m")
        os.mkdir(SCRATCH)

    def serve(self) -> None:
        owner = os.pidfd_open(os.getppid())
        poll = select.poll()
        poll.register(self._channel, select.POLLIN)
        poll.register(owner, select.POLLIN)
        while True:
            if any(ready == owner for ready, _ in poll.poll()):
                return
            packet, descriptors = receive(self._channel, _PACKET)
            if not packet:
                return
            self._answer(marshal.loads(packet), descriptors)
            for descriptor in descriptors:
                os.close(descriptor)

    def _answer(self, request: dict[str, Any], descriptors: list[int]) -> None:
        try:
            root = self._root(request["root"])
            pid = os.fork()
        except OSError as error:
            self._channel.send(marshal.dumps((0, str(error))))
            return
        if pid == 0:
            self._become_bwrap(request, root, descriptors)
        handle = os.pidfd_open(pid)
        socket.send_fds(self._channel, [marshal.dumps((pid, ""))], [handle])
        os.close(handle)

    def _root(self, entries: tuple[tuple[str, str, Any], ...]) -> str:
        """The read-only root of sandboxes with these entries; made when it is first asked for."""
        root = self._roots.get(entries)
        if root is None:
            root = f"{BASE}/root{len(self._roots)}"
            os.mkdir(root, 0o755)
            for kind, path, value in entries:
                _put(kind, root + path, value)
            self._roots[entries] = root
        return root

    def _become_bwrap(self, request: dict[str, Any], root: str, descriptors: list[int]) -> NoReturn:
        try:
            for number, descriptor in enumerate((*descriptors, _memory_file(request["seccomp"]))):
                os.dup2(descriptor, number, inheritable=True)
            _join_cgroups(request["cgroups"])
            os.chdir("/")
            _own_namespaces(user=self._user)
            flags = _MS_NOSUID | _MS_NODEV | (0 if request["exec"] else _MS_NOEXEC)
            _mount("tmpfs", SCRATCH, "tmpfs", flags, request["tmpfs"])
            for name in ("tmp", "shm"):
                os.mkdir(f"{SCRATCH}/{name}")
                os.chmod(f"{SCRATCH}/{name}", 0o1777)
            for number in (signal.SIGCHLD, signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT):
                signal.signal(number, signal.SIG_DFL)
            if not self._user:
                os.setgroups([])
                uid = request["uid"] + (os.getpid() if request["uid_by_pid"] else 0)
                os.setresgid(uid, uid, uid)
                os.setresuid(uid, uid, uid)
            for name, value in request["rlimits"]:
                resource.setrlimit(name, (value, value))
            _check(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
            program, arguments = request["argv"]
            os.execve(program, [program, *(root if word is None else word for word in arguments)], {})
        except BaseException as error:  # noqa: BLE001 - it must not return into the server's loop
            os.write(2, f"bubblewrap: {error}\n".encode())
        os._exit(125)


def _memory_file(content: bytes) -> int:
    descriptor = os.memfd_create("seccomp", os.MFD_CLOEXEC)
    os.write(descriptor, content)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _put(kind: str, path: str, value: Any) -> None:
    if kind == "folder":
        os.makedirs(path, 0o755, exist_ok=True)
    elif kind == "link":
        os.symlink(value, path)
    elif kind == "file":
        with open(path, "wb") as file:
            file.write(value)
    else:
        if os.path.isdir(value):
            os.makedirs(path, 0o755, exist_ok=True)
        else:
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o644))
        _mount(value, path, "", _MS_BIND | _MS_REC)


def _join_cgroups(groups: tuple[tuple[str, tuple[tuple[str, str], ...]], ...]) -> None:
    for folder, settings in groups:
        os.mkdir(folder)
        for name, value in settings:
            _write(f"{folder}/{name}", value)
        _write(f"{folder}/cgroup.procs", "0")


def main() -> None:
    # The numbers that a bwrap's own descriptors will get are kept free of others.
    given = int(sys.argv[1])
    high = fcntl.fcntl(given, fcntl.F_DUPFD_CLOEXEC, SECCOMP_FD + 1)
    os.close(given)
    for number in range(3, SECCOMP_FD + 1):
        os.dup2(0, number, inheritable=False)
    channel = socket.socket(fileno=high)
    server = _Server(channel, user=sys.argv[2] == "user")
    try:
        server.set_up(sys.argv[3])
    except OSError as error:
        channel.send(marshal.dumps((0, str(error))))
        sys.exit(1)
    # Ended children vanish by themselves; who waits for one has a descriptor of it.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    channel.send(marshal.dumps((os.getpid(), "")))
    gc.freeze()
    server.serve()


if __name__ == "__main__":
    main()
