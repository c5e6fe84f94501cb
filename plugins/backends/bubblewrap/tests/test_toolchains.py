"""Where programs come from, and what a language's setup script leaves for them."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from xagent_bubblewrap.backend import BubblewrapBackend
from xagent_bubblewrap.toolchains import find_toolchains

from xagent_core import Engine, Language, SandboxStartError
from xagent_core.abc.backend import SandboxSpec
from xagent_core.abc.language import Packages
from xagent_core.plugins import Plugins

SPEC = SandboxSpec(
    command=("sh",), language="toy", image="", executables=("toy",), packages=Packages(), env=(), memory=2**27,
    cpus=1.0, processes=20, scratch=2**20, scratch_exec=False,
)  # fmt: skip


@pytest.fixture
def toy_distribution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A distribution beside the plugin that holds a program, in a folder that only this user can enter."""
    private = tmp_path / "private"
    program = private / "toy_wheel/bin/toy"
    program.parent.mkdir(parents=True)
    program.write_text('#!/bin/sh\ncat "$(dirname "$0")/../share/words"; exec sh "$@"\n')
    program.chmod(0o755)
    (private / "toy_wheel/share").mkdir()
    (private / "toy_wheel/share/words").write_text("from the wheel\n")
    metadata = private / "toy_wheel-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-wheel\nVersion: 1.0\n")
    private.chmod(0o700)
    monkeypatch.syspath_prepend(str(private))
    return private


TOY = Packages(apt=("toy",), pip=("toy-wheel",), programs=(("toy", "toy_wheel/bin/toy"),))


def test_a_program_that_is_nowhere_says_how_to_get_it() -> None:
    with pytest.raises(SandboxStartError) as caught:
        find_toolchains("bubblewrap", replace(SPEC, packages=TOY), python="system")
    assert caught.value.fix == "Install it: pip install toy-wheel or apt install toy."


@pytest.mark.usefixtures("toy_distribution")
def test_a_wheel_beside_the_plugin_is_shown_under_a_neutral_path() -> None:
    found = find_toolchains("bubblewrap", replace(SPEC, packages=TOY), python="system")
    assert found.path.split(":")[0] == "/opt/xagent-toolchains/toy_wheel/bin"
    assert [path for _, path, _ in found.entries] == ["/opt/xagent-toolchains/toy_wheel"]
    assert found.identity == ["toy-wheel 1.0"]


@pytest.mark.engine("bubblewrap")
async def test_a_program_from_a_wheel_runs(
    plugins: Plugins, make_engine: Callable[..., Engine], toy_distribution: Path
) -> None:
    plugins.languages.add(
        Language(name="toy", run=("toy", "{source}"), executables=("toy",), extensions=(".toy",), packages=TOY), "test"
    )
    async with make_engine() as engine:
        result = await engine.execute("command -v toy; cat /proc/self/mountinfo", language="toy")
    assert result.output.startswith("from the wheel\n/opt/xagent-toolchains/toy_wheel/bin/toy\n")


@pytest.fixture
def mount() -> Iterator[Callable[..., None]]:
    """Mounts by the command of that name, and in the end unmounts what is still there."""
    targets: list[str] = []

    def run(*words: str) -> None:
        subprocess.run(["mount", *words], check=True)
        targets.append(words[-1])

    yield run
    for target in reversed(targets):
        _unmount(target)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
@pytest.mark.engine("bubblewrap")
async def test_the_fork_server_follows_what_the_host_unmounts_and_sandboxes_see_nothing_of_what_it_mounts(
    plugins: Plugins, make_engine: Callable[..., Engine], toy_distribution: Path, mount: Callable[..., None]
) -> None:
    plugins.languages.add(
        Language(name="toy", run=("toy", "{source}"), executables=("toy",), extensions=(".toy",), packages=TOY), "test"
    )
    # As systemd mounts everything: what is mounted below is mounted in other namespaces, too.
    mount("--bind", str(toy_distribution), str(toy_distribution))
    mount("--make-shared", str(toy_distribution))
    words = str(toy_distribution / "toy_wheel/share")
    async with make_engine() as engine:
        assert (await engine.execute("", language="toy")).output == "from the wheel\n"
        server = (await engine.backend._opened()).launcher.pid
        mount("-t", "tmpfs", "tmpfs", words)
        assert _is_mounted(words, server)
        assert (await engine.execute("", language="toy")).output == "from the wheel\n"
        _unmount(words)
        assert not _is_mounted(words, server)


def _is_mounted(target: str, process: int) -> bool:
    return f" {target} " in Path(f"/proc/{process}/mountinfo").read_text()


def _unmount(target: str) -> None:
    subprocess.run(["umount", "--quiet", target], check=False)


@pytest.mark.engine("bubblewrap")
async def test_the_running_python_will_do_wherever_it_lives(make_engine: Callable[..., Engine]) -> None:
    async with make_engine(BubblewrapBackend(python="current")) as engine:
        result = await engine.execute("import sys, ssl, json; print(sys.version, sys.prefix)", language="python")
    assert result.output == f"{sys.version} /opt/xagent-toolchains/python\n", result


@pytest.mark.engine("bubblewrap")
async def test_the_running_python_stands_in_where_the_system_has_none(
    make_engine: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    def which(name: str, path: str | None = None) -> str | None:
        return "/usr/bin/bwrap" if name == "bwrap" else None

    monkeypatch.setattr("xagent_bubblewrap.toolchains.shutil.which", which)
    async with make_engine() as engine:
        result = await engine.execute("import sys; print(sys.executable)", language="python")
    assert result.output == "/opt/xagent-toolchains/python/bin/python3\n", result


# Setup scripts.


@pytest.fixture
def cached_language(plugins: Plugins) -> Callable[[str], None]:
    def add(setup: str) -> None:
        language = Language(
            name="cached", run=("sh", "{source}"), executables=("sh",), extensions=(".c",),
            packages=Packages(setup=setup),
        )  # fmt: skip
        plugins.languages.add(language, "test")

    return add


def entries(folder: Path) -> list[Path]:
    return list(folder.iterdir())


def owners(folder: Path) -> set[int]:
    return {path.stat().st_uid for path in (folder, *folder.rglob("*"))}


READ = "cat /opt/xagent/cached/*; ( : >/opt/xagent/cached/x ) 2>/dev/null || echo read-only"


@pytest.mark.engine("bubblewrap")
async def test_setup_runs_once_with_no_privileges_and_its_result_stays(
    make_engine: Callable[..., Engine], cached_language: Callable[[str], None], tmp_path: Path
) -> None:
    cached_language(
        "set -e\nid -u >$XAGENT_CACHE/uid\n"
        "cp /usr/bin/true /tmp/t; /tmp/t\nmkdir $XAGENT_CACHE/d\n"
        "cat /proc/uptime >$XAGENT_CACHE/made; echo noise; ls /home /root >&2 || :"
    )
    outputs = []
    for _ in range(2):
        async with make_engine(BubblewrapBackend(cache=tmp_path)) as engine:
            results = await asyncio.gather(*(engine.execute(READ, language="cached") for _ in range(3)))
            outputs += [result.output for result in results]
    assert len(set(outputs)) == 1, outputs
    assert "1000\n" in outputs[0]
    assert outputs[0].endswith("read-only\n")
    (folder,) = entries(tmp_path)
    assert owners(folder) == {os.geteuid()}


@pytest.mark.engine("bubblewrap")
async def test_a_failed_setup_is_told_once_and_programs_run_without(
    make_engine: Callable[..., Engine],
    cached_language: Callable[[str], None],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    cached_language("set -e\nfalse\necho not reached >$XAGENT_CACHE/x")
    async with make_engine(BubblewrapBackend(cache=tmp_path)) as engine:
        for _ in range(2):
            result = await engine.execute("ls /opt/xagent/cached", language="cached")
            assert "No such file" in result.error
    warnings = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert "the setup of cached failed" in warnings[0]
    assert entries(tmp_path) == []


@pytest.mark.engine("bubblewrap")
async def test_two_processes_that_set_up_at_once_end_with_one_result(
    make_engine: Callable[..., Engine], cached_language: Callable[[str], None], tmp_path: Path
) -> None:
    cached_language("sleep 0.5; cat /proc/sys/kernel/random/uuid >$XAGENT_CACHE/made")

    async def run() -> str:
        async with make_engine(BubblewrapBackend(cache=tmp_path)) as engine:
            return (await engine.execute("cat /opt/xagent/cached/made", language="cached")).output

    first, second = await asyncio.gather(run(), run())
    assert first == second != ""
    assert len(entries(tmp_path)) == 1


@pytest.mark.engine("bubblewrap")
async def test_closing_stops_a_setup(
    make_engine: Callable[..., Engine], cached_language: Callable[[str], None], tmp_path: Path
) -> None:
    cached_language("sleep 100")
    started = time.monotonic()
    async with make_engine(BubblewrapBackend(cache=tmp_path)) as engine:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await engine.execute("", language="cached")
    assert time.monotonic() - started < 50
    assert entries(tmp_path) == []
