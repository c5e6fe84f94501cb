"""What Podman makes of the policy, where it would do otherwise by itself."""

from __future__ import annotations

import json
import resource
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from xagent_podman.container import container_spec, write_profile

from xagent_core import Engine, ExecutionRequest, Packages
from xagent_core.abc.backend import SandboxSpec

from .conftest import OwnService

pytestmark = pytest.mark.engine("podman")


async def test_podman_keeps_no_log_and_removes_what_has_ended(engine: Engine, podman: Callable[..., str]) -> None:
    sandbox = await engine.backend.start(engine.plan(ExecutionRequest(code="", language="bash")).spec)
    try:
        (found,) = json.loads(podman("inspect", sandbox.id))
    finally:
        await sandbox.kill()
    assert found["HostConfig"]["LogConfig"]["Type"] == "none"
    assert found["HostConfig"]["AutoRemove"]
    assert found["Config"]["OpenStdin"]
    assert not found["Config"]["Tty"]
    assert found["Mounts"] == []


async def test_what_a_program_writes_in_podmans_own_words_is_kept(engine: Engine) -> None:
    words = ["before", "Error: read unix /x/attach: mine", "Error: write unixpacket /x/attach: mine"]
    code = "; sleep 0.1; ".join(f"echo '{line}' >&2" for line in words)
    assert (await engine.execute(code, language="bash")).error.splitlines() == words


async def test_a_volume_of_the_image_is_no_way_to_the_hosts_disk(
    make_engine: Callable[..., Engine], podman: Callable[..., str]
) -> None:
    container = podman("create", "xagent-runtime-bash", "sh").strip()
    try:
        podman("commit", "--change", "VOLUME /data", container, "localhost/xagent-test:volume")
    finally:
        podman("rm", container)
    try:
        async with make_engine(images={"bash": "localhost/xagent-test:volume"}) as engine:
            result = await engine.execute("mkdir -p /data && echo >/data/x", language="bash")
        assert result.status == "error"
        assert "Read-only file system" in result.error
    finally:
        podman("rmi", "localhost/xagent-test:volume")


async def test_a_proxy_of_the_services_environment_is_not_passed_on(
    make_engine: Callable[..., Engine], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://user:secret@proxy")
    service = OwnService(f"unix://{folder}/s")
    service.start()
    try:
        async with make_engine(base_url=service.url) as engine:
            assert "secret" not in (await engine.execute("env", language="bash")).output
    finally:
        service.kill()


async def test_a_cache_that_is_emptied_does_no_harm(
    make_engine: Callable[..., Engine], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    async with make_engine() as engine:
        assert (await engine.execute("echo first", language="bash")).output == "first\n"
        shutil.rmtree(folder / "xagent")
        assert (await engine.execute("echo second", language="bash")).output == "second\n"


@pytest.mark.parametrize(("hard", "asked"), [(4000, 4000), (100_000, 1 << 15), (resource.RLIM_INFINITY, 1 << 15)])
def test_a_service_without_privileges_is_asked_for_no_more_than_it_may_give(
    hard: int, asked: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (min(hard, 1000), hard))
    spec = SandboxSpec(
        command=("sh",),
        language="bash",
        image="image",
        executables=("sh",),
        packages=Packages(),
        env=(),
        memory=2**27,
        cpus=0.5,
        processes=64,
        scratch=2**20,
        scratch_exec=False,
    )
    document = container_spec(spec, name="name", image="image", labels={}, profile=tmp_path, network="")
    limits = {limit["type"]: (limit["soft"], limit["hard"]) for limit in document["r_limits"]}
    assert limits["nproc"] == (asked, asked)
    assert limits["nofile"] == (spec.open_files, spec.open_files)


def test_the_list_of_system_calls_is_written_once_and_mended(tmp_path: Path) -> None:
    file = write_profile(tmp_path / "cache")
    assert json.loads(file.read_text())["defaultAction"] == "SCMP_ACT_ERRNO"
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    good = file.read_bytes()
    file.write_text("{}")
    assert write_profile(tmp_path / "cache") == file
    assert file.read_bytes() == good
    assert [entry.name for entry in (tmp_path / "cache").iterdir()] == [file.name]
