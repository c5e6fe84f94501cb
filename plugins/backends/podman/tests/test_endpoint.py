"""The service is found where Podman's own tools find it, and started where it may be."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from xagent_podman.endpoint import DEFAULT, find_endpoint

from xagent_core import BackendUnavailableError, Engine
from xagent_core.containers.endpoint import Endpoint

WAKE = """
import sys
from xagent_core.containers.endpoint import Endpoint
from xagent_podman.endpoint import DEFAULT, wake
wake(Endpoint(url=sys.argv[1], source=DEFAULT))
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's configuration folder, with two connections of which the second is the default."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    folder = tmp_path / "containers"
    folder.mkdir()
    connections = {"far": {"URI": "ssh://user@far/run/podman.sock"}, "near": {"URI": "unix:///run/near.sock"}}
    document = {"Connection": {"Default": "near", "Connections": connections}}
    (folder / "podman-connections.json").write_text(json.dumps(document))
    return folder


def found(endpoint: Endpoint) -> tuple[str, str]:
    return endpoint.url, endpoint.source


def default_socket() -> str:
    return "/run/podman/podman.sock" if os.geteuid() == 0 else f"/run/user/{os.geteuid()}/podman/podman.sock"


def test_the_option_goes_before_all(home: Path) -> None:
    endpoint = find_endpoint("unix:///own.sock", {"CONTAINER_HOST": "unix:///other.sock"})
    assert found(endpoint) == ("unix:///own.sock", "the option base_url")


def test_container_host_goes_before_connections(home: Path) -> None:
    environ = {"CONTAINER_HOST": "tcp://127.0.0.1:8080", "CONTAINER_CONNECTION": "near"}
    assert found(find_endpoint(None, environ)) == ("http://127.0.0.1:8080", "CONTAINER_HOST")


def test_the_default_connection(home: Path) -> None:
    assert found(find_endpoint(None, {})) == ("unix:///run/near.sock", "connection near")


def test_a_default_connection_over_ssh_is_left_aside_as_by_the_command(home: Path) -> None:
    file = home / "podman-connections.json"
    file.write_text(file.read_text().replace('"Default": "near"', '"Default": "far"'))
    assert found(find_endpoint(None, {"XDG_RUNTIME_DIR": ""})) == (f"unix://{default_socket()}", DEFAULT)


def test_a_connection_over_ssh_that_was_asked_for_is_refused(home: Path) -> None:
    with pytest.raises(BackendUnavailableError, match=r"connection far\) is not supported"):
        find_endpoint(None, {"CONTAINER_CONNECTION": "far"})


def test_a_connection_that_does_not_exist(home: Path) -> None:
    with pytest.raises(BackendUnavailableError, match="podman system connection list"):
        find_endpoint(None, {"CONTAINER_CONNECTION": "none"})


def test_destinations_in_containers_conf(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "own.conf"
    file.write_text('[engine]\nactive_service = "a"\n[engine.service_destinations.a]\nuri = "unix:///a.sock"\n')
    assert found(find_endpoint(None, {"CONTAINERS_CONF": str(file)})) == ("unix:///a.sock", "connection a")


def test_a_containers_conf_that_names_no_service(home: Path) -> None:
    (home / "podman-connections.json").unlink()
    (home / "containers.conf").write_text('[engine]\nruntime = "runc"\n')
    assert find_endpoint(None, {}).source == DEFAULT


def test_a_containers_conf_that_cannot_be_read(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "own.conf"
    file.write_text("[engine\n")
    with pytest.raises(BackendUnavailableError, match=r"Mend containers\.conf"):
        find_endpoint(None, {"CONTAINERS_CONF": str(file)})


@pytest.mark.slow
@pytest.mark.engine("podman")
def test_processes_that_need_it_at_the_same_time_start_one_service(folder: Path) -> None:
    url = f"unix://{folder}/podman/podman.sock"
    starts = [subprocess.Popen([sys.executable, "-c", WAKE, url]) for _ in range(4)]
    assert [start.wait() for start in starts] == [0] * 4

    (service,) = services(url)
    # Not in the caller's folder, which would stay in use, and get files of Podman's.
    assert Path(f"/proc/{service}/cwd").resolve() == folder / "podman"
    wait_for_its_end(url)  # which comes by itself
    assert not Path(url.removeprefix("unix://")).exists()


@pytest.mark.engine("podman")
async def test_a_service_that_has_ended_is_started_again(
    folder: Path, home: Path, make_engine: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "podman-connections.json").unlink()
    url = f"unix://{folder}/podman/podman.sock"
    monkeypatch.setattr("xagent_podman.endpoint._default_socket", lambda _: url.removeprefix("unix://"))
    async with make_engine() as engine:
        for _ in range(2):
            assert (await engine.execute("echo served", language="bash")).output == "served\n"
            (service,) = services(url)
            os.kill(int(service), signal.SIGTERM)  # As it does by itself when it has had no client for a while.
            await asyncio.to_thread(wait_for_its_end, url)


def wait_for_its_end(url: str) -> None:
    while services(url):
        time.sleep(0.1)


def services(url: str) -> list[str]:
    command = ["pgrep", "--full", f"^podman system service .*{url}"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()
