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

from xagent_core.errors import BackendUnavailableError, SandboxStartError

from xagent_bubblewrap.forkserver import receive

__all__ = ["Launcher"]

_SCRIPT: Final = Path(__file__).with_name("forkserver.py")
_PACKET: Final = 4096


class Launcher:
    """A running fork server.

    Args:
        component: The backend's name, for errors.
        user: Whether it needs a user namespace, since this process may not make mounts.
        wrapper: The argv of a program that runs it, such as `systemd-run`.
    """

    def __init__(self, component: str, *, user: bool, wrapper: tuple[str, ...] = ()) -> None:
        self._component = component
        self._user = user
        self._wrapper = wrapper
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None
        self._replies: deque[asyncio.Future[tuple[int, int]]] = deque()
        self.pid = 0

    @property
    def alive(self) -> bool:
        """Whether it takes requests."""
        return self._channel is not None

    async def open(self) -> None:
        """Starts the fork server.

        Raises:
            BackendUnavailableError: It cannot make its namespaces.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        with theirs:
            argv = [*self._wrapper, sys.executable or "python3", "-I", "-S", "-B", str(_SCRIPT), str(theirs.fileno())]
            self._process = await asyncio.to_thread(
                subprocess.Popen,
                [*argv, "user" if self._user else "root", "/sys/fs/cgroup"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                cwd="/",
                env={},
                start_new_session=True,
            )
        self._channel = ours
        asyncio.get_running_loop().add_reader(ours, self._hear)
        try:
            self.pid, _ = await self._reply()
        except SandboxStartError as error:
            self.close()
            raise BackendUnavailableError(self._component, f"no private namespace: {error.cause}", error.fix) from error

    async def launch(self, request: dict[str, Any], descriptors: list[int]) -> tuple[int, int]:
        """Has one bwrap started.

        Returns:
            Its process id, and a descriptor of the process that becomes readable when it has ended.

        Raises:
            SandboxStartError: The fork server could not, or is gone.
        """
        if self._channel is None:
            raise SandboxStartError(self._component, "its fork server is not running")
        packet = marshal.dumps(request)
        while True:
            try:
                socket.send_fds(self._channel, [packet], descriptors)
            except BlockingIOError:
                await self._writable(self._channel)
                continue
            except OSError as error:
                raise SandboxStartError(self._component, f"its fork server is gone: {error}") from error
            return await self._reply()

    def close(self) -> None:
        """Ends the fork server, and with it every sandbox. May be called again."""
        channel, self._channel = self._channel, None
        if channel is not None:
            asyncio.get_running_loop().remove_reader(channel)
            channel.close()
        while self._replies:
            reply = self._replies.popleft()
            if not reply.done():
                reply.set_exception(SandboxStartError(self._component, "its fork server ended"))

    async def wait_closed(self) -> None:
        """Waits until the fork server has ended."""
        if self._process is not None:
            await asyncio.to_thread(self._process.wait)

    async def _reply(self) -> tuple[int, int]:
        reply: asyncio.Future[tuple[int, int]] = asyncio.get_running_loop().create_future()
        self._replies.append(reply)
        # A caller that is cancelled must still learn what was started, to end it.
        return await reply

    def _hear(self) -> None:
        if self._channel is None:
            return
        try:
            packet, descriptors = receive(self._channel, _PACKET)
        except BlockingIOError:
            return
        except OSError:
            packet, descriptors = b"", []
        if not packet:
            self.close()
            return
        pid, problem = marshal.loads(packet)
        reply = self._replies.popleft() if self._replies else None
        if reply is None or reply.done():
            # Whoever asked was cancelled: what was started ends when its streams' other ends are closed.
            for descriptor in descriptors:
                os.close(descriptor)
        elif problem:
            reply.set_exception(SandboxStartError(self._component, problem))
        else:
            reply.set_result((pid, descriptors[0] if descriptors else -1))

    async def _writable(self, channel: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        ready = loop.create_future()
        loop.add_writer(channel, lambda: ready.done() or ready.set_result(None))
        try:
            await ready
        finally:
            loop.remove_writer(channel)
