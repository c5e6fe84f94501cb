"""Runs a language's setup script in a container that can reach nothing, and takes what it made as a layer."""

from __future__ import annotations

import asyncio
import secrets
import tarfile
import time
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any, Final

from docker.api import APIClient
from docker.errors import APIError

from xagent_core.abc.language import Language
from xagent_core.errors import BackendError
from xagent_docker.daemon import Daemon
from xagent_docker.images.debian import SANDBOX_ID
from xagent_docker.images.failures import COMPONENT, naming_a_full_disk
from xagent_docker.images.layers import Layer, LayerWriter
from xagent_docker.images.recipe import cache_folder
from xagent_docker.owner import Owner

__all__ = ["run_setup"]

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
    name = f"xagent-setup-{secrets.token_hex(8)}"
    try:
        await daemon.call(
            "create the container of a setup script",
            daemon.client.create_container_from_config,
            _container(language, image),
            name,
        )
        await daemon.call("start a setup script", daemon.client.start, name)
        await _wait(daemon, language, name)
        fetched = path.with_suffix(".fetched")
        with naming_a_full_disk(f"the temporary folder {path.parent}"):
            await daemon.call("hand out what a setup script made", _fetch, daemon.client, name, language, fetched)
            return await asyncio.to_thread(_layer, fetched, language, path)
    finally:
        await _remove(daemon, name)


async def _wait(daemon: Daemon, language: Language, name: str) -> None:
    try:
        async with asyncio.timeout(_SECONDS):
            ended = await daemon.call("wait for a setup script", daemon.client.wait, name, timeout=None)
    except TimeoutError as error:
        raise _failed(language, f"took longer than {_SECONDS:g} s") from error
    if ended["StatusCode"] != 0:
        log: bytes = await daemon.call("show the output of a setup script", daemon.client.logs, name, tail=15)
        words = log.decode("utf-8", "replace").strip() or "it printed nothing"
        raise _failed(language, f"ended with status {ended['StatusCode']}: {words}")


async def _remove(daemon: Daemon, name: str) -> None:
    """Removes the container; shielded, since it must go even when nobody waits for the image any more."""
    try:
        await asyncio.shield(
            daemon.call("remove a container", daemon.client.remove_container, name, force=True, v=True)
        )
    except APIError:
        # It was never created, or the reaper was faster.
        return


def _container(language: Language, image: str) -> dict[str, Any]:
    folder = f"/{cache_folder(language)}"
    return {
        "Image": image,
        "Entrypoint": ["sh", "-e", "-c", language.packages.setup],
        "Cmd": [],
        "Env": [f"XAGENT_CACHE={folder}", "HOME=/tmp", "TMPDIR=/tmp", "LANG=C.UTF-8"],
        "User": f"{SANDBOX_ID}:{SANDBOX_ID}",
        "WorkingDir": "/tmp",  # noqa: S108 - the path inside
        "NetworkDisabled": True,
        # What the reaper goes by if this process is killed.
        "Labels": {
            "xagent-sandbox": "true",
            "xagent-owner": str(Owner.current()),
            "xagent-deadline": str(int(time.time()) + _LIFETIME_SECONDS),
        },
        "HostConfig": {
            "CapDrop": ["ALL"],
            "SecurityOpt": ["no-new-privileges"],
            "PidsLimit": 1024,
            "Init": True,
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
