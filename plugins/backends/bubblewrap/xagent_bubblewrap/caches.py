"""Runs a language's setup script once, and keeps what it made in the user's cache folder."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

import platformdirs

from xagent_bubblewrap.rootfs import Entry
from xagent_bubblewrap.toolchains import Toolchains
from xagent_core.abc.backend import Sandbox, SandboxSpec
from xagent_core.bridge import in_thread
from xagent_core.errors import XAgentError
from xagent_core.types import GIB

__all__ = ["LanguageCaches", "inside_path"]

logger = logging.getLogger(__name__)

_SETUP_SECONDS: Final = 600.0
_WORDS: Final = 4000
_DONE: Final = "xagent-setup-done"
# A shell of its own, in which `set -e` works. Only the last word tells that all went well.
_SCRIPT: Final = f'sh -c "$1" setup </dev/null >&2 && echo {_DONE}'

Start = Callable[[SandboxSpec, Toolchains, Entry], Awaitable[Sandbox]]


def inside_path(language: str) -> str:
    """Where sandboxes of a language find what its setup has made."""
    return f"/opt/xagent/{language}"


class LanguageCaches:
    """What setup scripts have made, by language and toolchain.

    Args:
        start: Starts a sandbox that may write the given folder.
        folder: Instead of the user's cache folder.
    """

    def __init__(self, start: Start, folder: Path | None = None) -> None:
        self._start = start
        self._folder = folder
        self._running: dict[str, asyncio.Task[Path | None]] = {}

    async def prepared(self, spec: SandboxSpec, toolchains: Toolchains) -> Entry | None:
        """The folder for sandboxes of this kind, made by the setup script where it is not there yet.

        Returns:
            What to add to their root; None where there is no script, or it failed, which is logged once.
        """
        if not spec.packages.setup:
            return None
        identity = "\n".join((*toolchains.identity, spec.packages.setup))
        key = f"{spec.language}-{hashlib.sha256(identity.encode()).hexdigest()[:16]}"
        # Callers that come together wait for one run; and a failure is not tried again.
        if key not in self._running:
            self._running[key] = asyncio.create_task(self._make(key, spec, toolchains))
        path = await asyncio.shield(self._running[key])
        return ("bind", inside_path(spec.language), str(path)) if path else None

    async def aclose(self) -> None:
        """Stops what runs."""
        for task in self._running.values():
            task.cancel()
        await asyncio.gather(*self._running.values(), return_exceptions=True)

    async def _make(self, key: str, spec: SandboxSpec, toolchains: Toolchains) -> Path | None:
        parent = self._folder or platformdirs.user_cache_path("xagent") / "bubblewrap"
        final = parent / key
        try:
            if await in_thread(final.is_dir):
                return final
            made = await in_thread(_temporary_folder, parent, key)
            try:
                logger.info("preparing %s once: its setup script fills %s", spec.language, final)
                problem = await self._run(made, spec, toolchains)
                if not problem:
                    await in_thread(_finish, made, final)
                    return final
            finally:
                await in_thread(shutil.rmtree, made.parent, ignore_errors=True)
        except (OSError, XAgentError) as error:
            problem = str(error)
        logger.warning("the setup of %s failed, its programs will be slower: %s", spec.language, problem)
        return None

    async def _run(self, folder: Path, spec: SandboxSpec, toolchains: Toolchains) -> str:
        """Runs the script; gives what went wrong, or nothing."""
        inside = inside_path(spec.language)
        generous = replace(
            spec,
            command=("sh", "-c", _SCRIPT, "setup", spec.packages.setup),
            env=(*spec.env, ("XAGENT_CACHE", inside), ("HOME", "/tmp")),  # noqa: S108 - a path inside
            memory=max(spec.memory, 2 * GIB),
            scratch=max(spec.scratch, GIB),
            cpus=max(spec.cpus, float(os.cpu_count() or 1)),
            processes=max(spec.processes, 512),
            scratch_exec=True,
        )
        sandbox = await self._start(generous, toolchains, ("bind", inside, str(folder)))
        said: dict[str, bytes] = {"stdout": b"", "stderr": b""}
        try:
            async with asyncio.timeout(_SETUP_SECONDS):
                while (piece := await sandbox.receive()) is not None:
                    said[piece[0]] = (said[piece[0]] + piece[1])[-_WORDS:]
        except TimeoutError:
            return f"it took more than {_SETUP_SECONDS:g} s"
        finally:
            await sandbox.kill()
        if said["stdout"].decode(errors="replace").strip() == _DONE:
            return ""
        return said["stderr"].decode(errors="replace").strip() or "it was killed"


def _temporary_folder(parent: Path, key: str) -> Path:
    """A folder that every user may write, since a sandbox's is another one, in one that only this user can enter."""
    parent.mkdir(parents=True, exist_ok=True)
    for left in parent.glob(f".{key}-*"):
        # Of a process that was killed: no setup takes that long.
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > 2 * _SETUP_SECONDS:
                shutil.rmtree(left, ignore_errors=True)
    made = Path(tempfile.mkdtemp(prefix=f".{key}-", dir=parent)) / "made"
    made.mkdir()
    made.chmod(0o777)
    return made


def _finish(made: Path, final: Path) -> None:
    """Makes all of it our own, and puts it in its place; what another process has put there first stays."""
    for path, folders, files in os.walk(made):
        for name in (*folders, *files):
            os.chown(os.path.join(path, name), os.geteuid(), os.getegid(), follow_symlinks=False)  # noqa: PTH118
    made.chmod(0o755)
    try:
        made.rename(final)
    except OSError:
        if not final.is_dir():
            raise
