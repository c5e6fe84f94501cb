"""Wheels: fetched with the user's own pip configuration, and unpacked without running anything."""

from __future__ import annotations

import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from xagent_docker.images import wheels as module
from xagent_docker.images.wheels import fetch_wheel, project_name

from xagent_core import BackendError

Make = Callable[[str, dict[str, str]], Path]


async def test_a_wheel_becomes_a_layer_under_opt(tmp_path: Path, wheels: Make) -> None:
    wheels("some-tool", {"some_tool/bin/tool": "#!/bin/sh\n"})
    wheel = await fetch_wheel("some-tool>=0.5", tmp_path / "made")
    assert (wheel.name, wheel.version, wheel.files["some_tool/bin/tool"]) == ("some-tool", "1.0", True)
    with tarfile.open(wheel.layer.path) as tar:
        member = tar.getmember("opt/some-tool/some_tool/bin/tool")
    assert (member.mode, member.uid) == (0o755, 0)


async def test_the_same_wheel_makes_the_same_layer(tmp_path: Path, wheels: Make) -> None:
    wheels("some-tool", {"b": "2", "a": "1"})
    first, second = [await fetch_wheel("some-tool", tmp_path / name) for name in ("one", "two")]
    assert first.layer.digest == second.layer.digest


async def test_a_wheel_that_pip_cannot_get_is_named_with_what_to_check(tmp_path: Path, wheels: Make) -> None:
    with pytest.raises(BackendError, match=r"cannot get a wheel of no-such-tool.*PIP_FIND_LINKS"):
        await fetch_wheel("no-such-tool", tmp_path / "made")


async def test_a_wheel_that_would_write_elsewhere_is_refused(tmp_path: Path, wheels: Make) -> None:
    wheels("evil-tool", {"../../etc/cron.d/job": "x"})
    with pytest.raises(BackendError, match="evil-tool"):
        await fetch_wheel("evil-tool", tmp_path / "made")


def test_what_is_not_a_wheel_is_refused(tmp_path: Path) -> None:
    (tmp_path / "broken_tool-1.0-py3-none-any.whl").write_bytes(b"no zip archive")
    with pytest.raises(BackendError, match=r"broken_tool-1.0.*cannot be unpacked.*pip cache purge"):
        module._unpack("broken-tool", tmp_path)


def test_a_wheel_cut_short_is_refused(tmp_path: Path, wheels: Make) -> None:
    whole = wheels("short-tool", {"file": "x" * 1000}).read_bytes()
    (tmp_path / "short_tool-1.0-py3-none-any.whl").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BackendError, match="short-tool"):
        module._unpack("short-tool", tmp_path)


async def test_without_any_pip_the_error_says_how_to_get_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "python").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "python").chmod(0o755)
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", f"{tmp_path}/nothing")
    with pytest.raises(BackendError, match=r"has no pip.*ensurepip"):
        await fetch_wheel("some-tool", tmp_path / "made")


def test_a_requirement_without_a_name_is_refused() -> None:
    with pytest.raises(BackendError, match="names no project"):
        project_name(">=1.0")
