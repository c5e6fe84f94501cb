"""The engine's side of the fork server: starts it, sends it requests, and hears when it is gone."""

from __future__ import annotations

import asyncio
import marshal
import os
import socket
import subprocess
import sys
from collections import deque
from pathlib import Path
from typing import Any, Final

from xagent_bubblewrap.forkserver import receive
from xagent_bubblewrap.pipes import resolve
from xagent_bubblewrap.privileges import Privileges
from xagent_core.bridge import in_thread
from xagent_core.errors import BackendUnavailableError, SandboxStartError

__all__ = ["Launcher"]

_SCRIPT: Final = Path(__file__).with_name("forkserver.py")
_REPLY: Final = 4096
_OPEN_SECONDS: Final = 8.0
_CLOSE_SECONDS: Final = 10.0


class Launcher:
    """A running fork server. It is made and used in one event loop.

    Args:
        component: The backend's name, for errors.
        privileges: What this process may do.
        cgroups: The folder that control groups are mounted in.
        wrapper: The argv of a program that runs it, such as `systemd-run`.
    """

    def __init__(self, component: str, *, privileges: Privileges, cgroups: Path, wrapper: tuple[str, ...] = ()) -> None:
        self._component = component
        self._privileges = privileges
        self._cgroups = cgroups
        self._wrapper = wrapper
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None
        self._replies: deque[asyncio.Future[tuple[int, int]]] = deque()
        self._sending = asyncio.Lock()
        self._roots: set[str] = set()
        self.pid = 0

    @property
    def alive(self) -> bool:
        """Whether it takes requests."""
        return self._channel is not None

    @property
    def ended(self) -> bool:
        """Whether it has ended, though the event loop may not have heard of it yet."""
        if self._channel is None:
            return True
        try:
            return not self._channel.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True

    async def open(self) -> None:
        """Starts the fork server.

        Raises:
            BackendUnavailableError: It cannot make its namespaces.
        """
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._channel.setblocking(False)
        with theirs:
            self._process = await in_thread(self._run, theirs.fileno())
        asyncio.get_running_loop().add_reader(self._channel, self._hear)
        try:
            async with asyncio.timeout(_OPEN_SECONDS):
                self.pid, _ = await self._reply()
        except (SandboxStartError, TimeoutError) as error:
            await self.aclose()
            cause = error.cause if isinstance(error, SandboxStartError) else "its fork server does not answer"
            raise BackendUnavailableError(self._component, f"cannot make namespaces: {cause}") from error
        except BaseException:
            self.close()
            raise

    def _run(self, channel: int) -> subprocess.Popen[bytes]:
        script = [sys.executable or "python3", "-I", "-S", "-B", str(_SCRIPT), str(channel)]
        other = self._privileges.other_user
        return subprocess.Popen(
            [*self._wrapper, *script, "user" if self._privileges.user_namespace else "root", str(self._cgroups)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=[channel],
            cwd="/",
            # The wrapper must find the user's bus.
            env=None if self._wrapper else {},
            start_new_session=True,
            user=other or None,
            group=other or None,
            extra_groups=[] if other else None,
        )

    async def launch(
        self, request: dict[str, Any], roots: dict[str, tuple[Any, ...]], descriptors: list[int]
    ) -> tuple[int, int]:
        """Has one bwrap started.

        Args:
            request: See the fork server.
            roots: The folders that the request names; each is sent once.
            descriptors: The bwrap's, from 0 on.

        Returns:
            Its process id, and a pidfd of it, which is the caller's to close.

        Raises:
            SandboxStartError: The fork server could not, or is gone.
        """
        new = tuple((name, entries) for name, entries in roots.items() if name not in self._roots)
        packet = marshal.dumps({**request, "roots": new})
        async with self._sending:
            while True:
                if self._channel is None:
                    raise SandboxStartError(self._component, "its fork server is not running")
                try:
                    socket.send_fds(self._channel, [packet], descriptors)
                    break
                except BlockingIOError:
                    await self._writable(self._channel)
                except OSError as error:
                    raise SandboxStartError(self._component, f"its fork server is gone: {error}") from error
            reply = self._reply()
        started = await reply
        self._roots.update(roots)
        return started

    def close(self) -> None:
        """Tells the fork server to end, which ends every sandbox. May be called again."""
        channel, self._channel = self._channel, None
        if channel is not None:
            asyncio.get_running_loop().remove_reader(channel)
            channel.close()
        while self._replies:
            reply = self._replies.popleft()
            if not reply.done():
                reply.set_exception(SandboxStartError(self._component, "its fork server ended"))

    async def aclose(self) -> None:
        """Ends the fork server and waits until it has cleaned up."""
        self.close()
        if self._process is not None:
            try:
                await in_thread(self._process.wait, _CLOSE_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                await in_thread(self._process.wait)

    def _reply(self) -> asyncio.Future[tuple[int, int]]:
        reply: asyncio.Future[tuple[int, int]] = asyncio.get_running_loop().create_future()
        self._replies.append(reply)
        return reply

    def _hear(self) -> None:
        if self._channel is None:
            return
        try:
            packet, descriptors = receive(self._channel, _REPLY)
        except BlockingIOError:
            return
        except OSError:
            packet, descriptors = b"", []
        if not packet:
            self.close()
            return
        pid, problem = marshal.loads(packet)  # noqa: S302 - from our own process
        reply = self._replies.popleft()
        if not reply.done() and problem:
            reply.set_exception(SandboxStartError(self._component, problem))
        elif not reply.done():
            reply.set_result((pid, descriptors.pop() if descriptors else -1))
        for descriptor in descriptors:
            os.close(descriptor)

    async def _writable(self, channel: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        ready: asyncio.Future[None] = loop.create_future()
        loop.add_writer(channel, resolve, ready)
        try:
            await ready
        finally:
            loop.remove_writer(channel)
