"""Control groups: where they are made, what they say, and how those of dead owners go away."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from pathlib import Path

import pytest
from xagent_bubblewrap import opening
from xagent_bubblewrap.backend import BubblewrapBackend
from xagent_bubblewrap.cgroups import find_tree, folder_name

from xagent_core import Engine
from xagent_core.owner import Owner
from xagent_core.testing.backends.common import answers
from xagent_core.types import MIB, ExecutionRequest


def v2_group(folder: Path, controllers: str = "") -> Path:
    """A group as the kernel shows it, of ordinary files; all its controllers limit the groups below it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cgroup.controllers").write_text(f"{controllers}\n")
    (folder / "cgroup.subtree_control").write_text(f"{controllers}\n")
    return folder


@pytest.fixture
def name() -> str:
    return folder_name(Owner.current())


def test_version_2_goes_beside_its_own_group(tmp_path: Path, name: str) -> None:
    v2_group(tmp_path, "cpu memory pids")
    parent = v2_group(tmp_path / "user.slice/app.slice", "cpu memory pids")
    v2_group(parent / "shell.scope")
    (parent / "memory.swap.max").write_text("max")
    v2_group(parent / name, "cpu memory pids")
    tree = find_tree(name, membership="0::/user.slice/app.slice/shell.scope\n", mounts=tmp_path)
    assert tree is not None
    assert set(tree.folders) == {"memory", "cpu", "pids"}
    group = tree.group("1", memory=64 * MIB, cpus=0.5, processes=20)
    assert group.request(tmp_path) == (
        (
            f"user.slice/app.slice/{name}/1",
            (
                ("memory.max", str(64 * MIB)),
                ("memory.swap.max", "0"),
                ("cpu.max", "50000 100000"),
                ("pids.max", "20"),
                ("cgroup.procs", "0"),
            ),
        ),
    )


def test_version_2_claims_only_the_controllers_that_it_got(tmp_path: Path, name: str) -> None:
    parent = v2_group(tmp_path / "a.slice", "memory pids")
    v2_group(tmp_path)
    v2_group(parent / "own.scope")
    v2_group(parent / name, "memory")
    tree = find_tree(name, membership="0::/a.slice/own.scope\n", mounts=tmp_path)
    assert tree is not None
    assert set(tree.folders) == {"memory"}


def test_version_2_usage(tmp_path: Path, name: str) -> None:
    v2_group(tmp_path)
    parent = v2_group(tmp_path / "s", "cpu memory pids")
    v2_group(parent / "own")
    v2_group(parent / name, "cpu memory pids")
    tree = find_tree(name, membership="0::/s/own\n", mounts=tmp_path)
    assert tree is not None
    group = tree.group("1", memory=MIB, cpus=1, processes=8)
    place = parent / name / "1"
    place.mkdir()
    (place / "memory.peak").write_text("4096\n")
    (place / "memory.events").write_text("low 0\nhigh 0\nmax 3\noom 1\noom_kill 2\noom_group_kill 0\n")
    (place / "cpu.stat").write_text("usage_usec 1500000\nuser_usec 1\n")
    usage = group.usage()
    assert (usage.peak_memory, usage.oom_kills, usage.cpu_time) == (4096, 2, 1.5)


def test_nothing_is_claimed_where_nothing_may_be_made(tmp_path: Path, name: str) -> None:
    assert find_tree(name, membership="0::/nowhere/at/all\n", mounts=v2_group(tmp_path / "v2")) is None
    (tmp_path / "v1").mkdir()
    assert find_tree(name, membership="4:memory:/x\n1:cpu,cpuacct:/y\n", mounts=tmp_path / "v1") is None


def test_version_1_holds_swap_with_memory(tmp_path: Path, name: str) -> None:
    for controller in ("memory", "cpu", "pids", "cpuacct"):
        (tmp_path / controller / "own" / name).mkdir(parents=True)
    (tmp_path / "memory/own" / name / "memory.memsw.limit_in_bytes").touch()
    tree = find_tree(name, membership="4:memory:/own\n3:cpu:/own\n2:pids:/own\n1:cpuacct:/own\n", mounts=tmp_path)
    assert tree is not None
    requested = dict(tree.group("1", memory=MIB, cpus=0.5, processes=8).request(tmp_path))
    assert requested[f"memory/own/{name}/1"] == (
        ("memory.limit_in_bytes", str(MIB)),
        ("memory.memsw.limit_in_bytes", str(MIB)),
        ("tasks", "0"),
    )
    assert requested[f"cpu/own/{name}/1"] == (
        ("cpu.cfs_quota_us", "50000"),
        ("tasks", "0"),
    )
    assert requested[f"cpuacct/own/{name}/1"] == (("tasks", "0"),)


def test_version_1_in_a_container_takes_the_mounts_top_where_its_path_is_the_hosts(tmp_path: Path, name: str) -> None:
    (tmp_path / "pids").mkdir()
    tree = find_tree(name, membership="2:pids:/docker/0123\n", mounts=tmp_path)
    assert tree is not None
    assert tree.folders == {"pids": tmp_path / "pids" / name}


def _name(pid: str) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()


@pytest.mark.engine("bubblewrap")
async def test_a_real_group_holds_a_sandbox_and_goes_with_it(engine: Engine) -> None:
    if not (await engine.backend.capabilities()).reports_usage:
        pytest.skip("this user can make no control group here")
    sandbox = await engine.backend.start(engine.plan(ExecutionRequest(code="", language="sh")).spec)
    folders = [Path(path) for path, _, _ in os.walk("/sys/fs/cgroup") if path.endswith(f"/{sandbox.id}")]
    assert folders
    assert await answers(sandbox)
    for folder in folders:
        pids = (folder / "cgroup.procs").read_text().split()
        assert {_name(pid) for pid in pids} == {"bwrap", "sh"}
    memory = [folder / "memory.memsw.limit_in_bytes" for folder in folders]
    assert {path.read_text().strip() for path in memory if path.exists()} <= {str(128 * MIB)}
    usage = await sandbox.usage()
    assert usage is not None
    assert usage.oom_kills == 0
    assert usage.cpu_time is not None
    await sandbox.kill()
    assert not [folder for folder in folders if folder.exists()]


def test_an_ordinary_user_asks_their_systemd_for_a_scope_where_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime, programs = tmp_path / "run", tmp_path / "bin"
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.setattr(opening, "MOUNTS", v2_group(tmp_path / "v2"))
    environ = {"XDG_RUNTIME_DIR": str(runtime)}
    assert opening.user_scope(environ) == ()
    programs.mkdir()
    (programs / "systemd-run").touch(mode=0o755)
    assert opening.user_scope(environ) == ()
    (runtime / "systemd").mkdir(parents=True)
    assert opening.user_scope(environ)[:3] == (str(programs / "systemd-run"), "--user", "--scope")
    assert opening.user_scope({}) == ()


def test_in_a_scope_the_fork_server_makes_room_for_the_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = Path("/proc/self/cgroup").read_text().partition("::")[2].strip().lstrip("/")
    scope = v2_group(tmp_path / own, "cpu memory pids")
    monkeypatch.setattr(opening, "MOUNTS", tmp_path)
    opening._divide_scope(os.getpid())
    assert (scope / "xagent-forkserver/cgroup.procs").read_text() == str(os.getpid())


def owner_of(pid: int) -> Owner:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return replace(Owner.current(), pid=pid, started=int(fields[19]))


@pytest.mark.engine("bubblewrap")
async def test_the_reaper_removes_what_a_dead_owner_left_and_nothing_else(engine: Engine) -> None:
    backend = engine.backend
    assert isinstance(backend, BubblewrapBackend)
    if not (await backend.capabilities()).reports_usage:
        pytest.skip("this user can make no control group here")
    tree = (await backend._opened()).tree
    assert tree is not None
    sandbox = await backend.start(engine.plan(ExecutionRequest(code="", language="sh")).spec)
    ours = next(iter(tree.folders.values()))
    left, other = [await asyncio.create_subprocess_exec("sleep", "1000") for _ in range(2)]
    folder = ours.with_name(folder_name(owner_of(other.pid)))
    (folder / "7").mkdir(parents=True)
    (folder / "7/cgroup.procs").write_text(str(left.pid))
    await backend.reap()
    assert (folder / "7").exists()
    other.kill()
    await other.wait()
    lines = []
    while folder.exists():
        lines += await backend.reap()
    assert await left.wait() == -9
    # The reaper of another test may have been first.
    assert not [line for line in lines if ours.name in line]
    assert ours.exists()
    assert await answers(sandbox)
    await sandbox.kill()
