"""What becomes of the root that mmdebstrap makes. A program in its place hands out roots that hold what matters."""

from __future__ import annotations

import shlex
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from xagent_docker.images.debian import bootstrap, difference, root_layer

from xagent_core import BackendError

from .conftest import DIR, FILE, OLD, SOURCE, Fake


def contents(path: Path) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(path) as tar:
        return {member.name: member for member in tar}


async def test_the_layer_holds_the_root_and_nothing_of_the_machine(
    tmp_path: Path, root_of: Callable[..., None]
) -> None:
    root_of(
        ("etc", "", DIR),
        ("etc/hostname", "my-laptop", FILE),
        ("etc/resolv.conf", "nameserver 10.0.0.1", FILE),
        ("etc/apt", "", DIR),
        ("etc/apt/apt.conf.d", "", DIR),
        ("etc/apt/apt.conf.d/99mmdebstrap", SOURCE.options[0], FILE),
        ("etc/apt/sources.list", "deb http://user:password@mirror bookworm main", FILE),
        ("dev", "", DIR),
        ("dev/console", "", {"type": tarfile.CHRTYPE}),
        ("usr/share/doc/bash/README", "long", FILE),
        ("usr/share/doc/bash/copyright", "GPL", FILE),
        ("usr/bin/bash", "elf", {"mode": 0o755}),
    )
    root = await bootstrap(SOURCE, (), tmp_path / "root.tar")
    layer = root_layer(root, tmp_path / "layer.tar")
    files = {name for name, member in contents(layer.path).items() if not member.isdir()}
    assert files == {"usr/share/doc/bash/copyright", "usr/bin/bash"}
    assert {"etc/apt", "dev"} <= set(contents(layer.path)), "folders stay"


async def test_programs_lose_the_right_to_change_the_user(tmp_path: Path, root_of: Callable[..., None]) -> None:
    root_of(("usr/bin/su", "elf", {"mode": 0o4755}), ("tmp", "", {"type": tarfile.DIRTYPE, "mode": 0o1777}))
    members = contents(root_layer(await bootstrap(SOURCE, (), tmp_path / "r"), tmp_path / "l").path)
    assert (members["usr/bin/su"].mode, members["tmp"].mode) == (0o755, 0o1777)


async def test_the_user_sandbox_is_added(tmp_path: Path, root_of: Callable[..., None]) -> None:
    root_of(("etc/passwd", "root:x:0:0::/root:/bin/sh\n", FILE), ("etc/group", "root:x:0:\n", FILE))
    layer = root_layer(await bootstrap(SOURCE, (), tmp_path / "r"), tmp_path / "l")
    with tarfile.open(layer.path) as tar:
        users, groups = (tar.extractfile(f"etc/{name}").read().decode() for name in ("passwd", "group"))  # type: ignore[union-attr]
    assert users.splitlines()[1].startswith("sandbox:x:1000:1000:")
    assert groups.splitlines()[1] == "sandbox:x:1000:"


async def test_two_builds_on_two_days_make_the_same_layer(tmp_path: Path, root_of: Callable[..., None]) -> None:
    digests = []
    for day in range(2):
        generated = {**FILE, "mtime": int(time.time()) + 3600 + day * 86400}
        root_of(
            ("etc/ld.so.cache", "cache", generated),
            ("etc/shadow", f"root:*:{20000 + day}:0:99999:7:::\n", generated),
            ("usr/lib/module.py", "x = 1", FILE),
        )
        layer = root_layer(await bootstrap(SOURCE, (), tmp_path / f"r{day}"), tmp_path / f"l{day}")
        digests.append(layer.digest)
    assert digests[0] == digests[1]
    assert contents(layer.path)["usr/lib/module.py"].mtime == OLD, "compiled Python refers to the time of its source"


async def test_a_difference_holds_what_is_new_changed_or_gone(tmp_path: Path, root_of: Callable[..., None]) -> None:
    folder = ("opt", "", {**DIR, "mode": 0o700})
    kept, linked = ("opt/kept", "same", FILE), ("opt/linked", "./opt/kept", {"type": tarfile.LNKTYPE})
    root_of(folder, kept, ("opt/changed", "old", FILE), ("opt/gone", "", DIR), ("opt/gone/too", "x", FILE))
    base = await bootstrap(SOURCE, (), tmp_path / "base")
    root_of(folder, kept, linked, ("opt/changed", "new", FILE), ("opt/new", "new", FILE))
    root = await bootstrap(SOURCE, ("new",), tmp_path / "root")
    layer = difference(root, base, ("new",), tmp_path / "layer")
    assert set(contents(layer.path)) == {"opt", "opt/changed", "opt/new", "opt/linked", "opt/.wh.gone"}
    with tarfile.open(layer.path) as tar:
        assert tar.getmember("opt").mode == 0o700, "the folder's own mode, or it would change below"
        assert tar.extractfile("opt/linked").read() == b"same", "a link cannot reach into the layer below"  # type: ignore[union-attr]


async def test_the_installed_versions_are_read(tmp_path: Path, root_of: Callable[..., None]) -> None:
    status = (
        "Package: bash\nStatus: install ok installed\nArchitecture: amd64\nVersion: 5.2-1\n\n"
        "Package: dash\nVersion: 0.5\n"
    )
    root_of(("var/lib/dpkg/status", status, FILE))
    assert (await bootstrap(SOURCE, (), tmp_path / "r")).packages == {"bash": "5.2-1", "dash": "0.5"}


# What mmdebstrap 1.3.5 wrote when each of these happened to it.
LOGS = {
    "E: Unable to locate package esbiuld\nE: mmdebstrap failed to run": "bookworm has no package esbiuld",
    "E: unable to pick chroot mode automatically (use --mode for manual selection)": "Install `uidmap`",
    "E: Failed to fetch http://deb/InRelease  Could not connect to deb:80\nE: mmdebstrap failed to run": "--mirror",
    "E: Write error - write (28: No space left on device)\nE: mmdebstrap failed to run": "no space is left",
    "E: something new": "cannot make bookworm with ed: something new",
}


@pytest.mark.parametrize(("log", "words"), LOGS.items())
async def test_a_failure_says_what_to_do(tmp_path: Path, mmdebstrap: Fake, log: str, words: str) -> None:
    mmdebstrap(f"echo {shlex.quote(log)} >&2; exit 1")
    with pytest.raises(BackendError, match=words):
        await bootstrap(SOURCE, ("ed",), tmp_path / "root")


async def test_a_missing_mmdebstrap_is_named_with_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BackendError, match="apt-get install mmdebstrap"):
        await bootstrap(SOURCE, (), tmp_path / "root")
