"""Runs a language's programs in a container that can reach nothing: its setup script, and a look at what they need."""

from __future__ import annotations

import asyncio
import secrets
import tarfile
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any, Final

from docker.api import APIClient
from docker.errors import NotFound

from xagent_core.abc.language import Language
from xagent_core.containers.labels import labels_of
from xagent_core.errors import BackendError
from xagent_core.owner import Owner
from xagent_docker.daemon import Daemon
from xagent_docker.images.debian import SANDBOX_ID
from xagent_docker.images.failures import COMPONENT, naming_a_full_disk
from xagent_docker.images.layers import Layer, LayerWriter
from xagent_docker.images.recipe import cache_folder

__all__ = ["check_libraries", "run_setup"]

# Prints `PROGRAM:LIBRARY` for each that is missing; what is no dynamic program needs none.
_MISSING_LIBRARIES: Final = """
for program; do
  ldd "$(command -v "$program")" 2>/dev/null | sed -n "s|^[[:space:]]*\\([^ ]*\\) => not found.*|$program:\\1|p"
done
"""

_SECONDS: Final = 900.0
# Where the daemon's reaper cannot tell whether this process lives.
_LIFETIME_SECONDS: Final = 2 * int(_SECONDS)


async def run_setup(daemon: Daemon, language: Language, image: str, path: Path) -> Layer:
    """Runs the script as the user `sandbox`, without a network and without privileges.

    Args:
        daemon: Where to run it.
        language: Its `packages.setup` is not empty.
        image: An image with the language's programs, in which the cache's folder belongs to `sandbox`.
        path: Where to write the layer.

    Returns:
        A layer with the cache's folder, which now belongs to root.

    Raises:
        BackendError: The script failed or took too long, or the daemon failed.
    """
    async with _container(daemon, image, ["sh", "-e", "-c", language.packages.setup], cache_folder(language)) as name:
        try:
            async with asyncio.timeout(_SECONDS):
                status = await _run(daemon, name)
        except TimeoutError as error:
            raise _failed(language, f"took longer than {_SECONDS:g} s") from error
        if status != 0:
            raise _failed(
                language, f"ended with status {status}: {await _output(daemon, name) or 'it printed nothing'}"
            )
        fetched = path.with_suffix(".fetched")
        with naming_a_full_disk(f"the temporary folder {path.parent}"):
            await daemon.call("hand out what a setup script made", _fetch, daemon.client, name, language, fetched)
            return await asyncio.to_thread(_layer, fetched, language, path)


async def check_libraries(daemon: Daemon, language: Language, image: str) -> None:
    """Looks whether the language's programs find the shared libraries that they are linked to.

    Args:
        daemon: Where to look.
        language: The language.
        image: Its image.

    Raises:
        BackendError: A library is missing, or the daemon failed.
    """
    command = ["sh", "-c", _MISSING_LIBRARIES, "sh", *language.executables]
    async with _container(daemon, image, command, cache_folder(language)) as name:
        await _run(daemon, name)
        missing = await _output(daemon, name)
    if missing:
        raise BackendError(
            COMPONENT,
            f"programs of {language.name} lack shared libraries: {', '.join(missing.split())}",
            "The language's plugin must name the Debian packages that have them; until then use `xagent images pull`.",
        )


@asynccontextmanager
async def _container(daemon: Daemon, image: str, command: list[str], cache: str) -> AsyncIterator[str]:
    """A container that is not started yet, and is removed at the end."""
    name = f"xagent-setup-{secrets.token_hex(8)}"
    config = _config(image, command, f"/{cache}")
    try:
        await daemon.call("create a container", daemon.client.create_container_from_config, config, name)
        yield name
    finally:
        # Shielded, since it must go even when nobody waits for the image any more. It may never have been created,
        # or the reaper was faster.
        with suppress(NotFound):
            await asyncio.shield(
                daemon.call("remove a container", daemon.client.remove_container, name, force=True, v=True)
            )


async def _run(daemon: Daemon, name: str) -> int:
    await daemon.call("start a container", daemon.client.start, name)
    ended = await daemon.call("wait for a container", daemon.client.wait, name, timeout=None)
    return int(ended["StatusCode"])


async def _output(daemon: Daemon, name: str) -> str:
    log: bytes = await daemon.call("show the output of a container", daemon.client.logs, name, tail=15)
    return log.decode("utf-8", "replace").strip()


def _config(image: str, command: list[str], cache: str) -> dict[str, Any]:
    return {
        "Image": image,
        "Entrypoint": command,
        "Cmd": [],
        "Env": [f"XAGENT_CACHE={cache}", "HOME=/tmp", "TMPDIR=/tmp", "LANG=C.UTF-8"],
        "User": f"{SANDBOX_ID}:{SANDBOX_ID}",
        "WorkingDir": "/tmp",  # noqa: S108 - the path inside
        "NetworkDisabled": True,
        # What the reaper goes by if this process is killed.
        "Labels": labels_of(Owner.current(), lifetime=_LIFETIME_SECONDS),
        "HostConfig": {
            "CapDrop": ["ALL"],
            "SecurityOpt": ["no-new-privileges"],
            "PidsLimit": 1024,
            "NetworkMode": "none",  # Podman does not know NetworkDisabled
            "Ulimits": [{"Name": name, "Soft": 1024, "Hard": 1024} for name in ("nofile", "nproc")],
            "LogConfig": {"Type": "json-file", "Config": {"max-size": "1m"}},
        },
    }


def _fetch(client: APIClient, name: str, language: Language, path: Path) -> None:
    chunks: Iterable[bytes] = client.get_archive(name, f"/{cache_folder(language)}")[0]
    with path.open("wb") as file:
        file.writelines(chunks)


def _layer(fetched: Path, language: Language, path: Path) -> Layer:
    folder = PurePosixPath(cache_folder(language))
    with tarfile.open(fetched, "r:") as tar, LayerWriter(path, f"the setup script of {language.name}") as layer:
        layer.folder(str(folder))
        for member in tar:
            # The daemon names members from the folder's own name on.
            member.name = str(folder.parent / member.name)
            if member.islnk():
                member.linkname = str(folder.parent / member.linkname)
            member.uid = member.gid = 0
            member.uname = member.gname = ""
            member.pax_headers = {}
            member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
            if member.isreg() or member.isdir() or member.issym() or member.islnk():
                layer.add(member, tar.extractfile(member) if member.isreg() else None)
    return layer.layer


def _failed(language: Language, cause: str) -> BackendError:
    return BackendError(
        COMPONENT,
        f"the setup script of {language.name} {cause}",
        "Tell the author of the language's plugin; `xagent languages` says who that is.",
    )
