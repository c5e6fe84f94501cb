"""What Podman makes of the policy, where it would do otherwise by itself."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from xagent_podman.container import write_profile

from xagent_core import Engine, ExecutionRequest

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


def test_the_list_of_system_calls_is_written_once_and_mended(tmp_path: Path) -> None:
    file = write_profile(tmp_path / "cache")
    assert json.loads(file.read_text())["defaultAction"] == "SCMP_ACT_ERRNO"
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    good = file.read_bytes()
    file.write_text("{}")
    assert write_profile(tmp_path / "cache") == file
    assert file.read_bytes() == good
    assert [entry.name for entry in (tmp_path / "cache").iterdir()] == [file.name]
