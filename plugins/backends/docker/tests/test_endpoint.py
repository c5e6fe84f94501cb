"""The daemon is found where the `docker` command finds it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from xagent_docker.endpoint import find_endpoint

from xagent_core import BackendUnavailableError
from xagent_core.containers.endpoint import Endpoint


@pytest.fixture
def docker_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The docker command's configuration, with a context `remote` that is not in use."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    (tmp_path / "config.json").write_text("{}")
    meta = tmp_path / "contexts" / "meta" / hashlib.sha256(b"remote").hexdigest()
    meta.mkdir(parents=True)
    context = {"Name": "remote", "Metadata": {}, "Endpoints": {"docker": {"Host": "unix:///run/remote.sock"}}}
    (meta / "meta.json").write_text(json.dumps(context))
    return tmp_path


def found(endpoint: Endpoint) -> tuple[str, str]:
    return endpoint.url, endpoint.source


def test_the_default_socket(docker_config: Path) -> None:
    assert found(find_endpoint(None, {})) == ("unix:///var/run/docker.sock", "the default")


def test_the_current_context(docker_config: Path) -> None:
    (docker_config / "config.json").write_text('{"currentContext": "remote"}')
    assert found(find_endpoint(None, {})) == ("unix:///run/remote.sock", "context remote")


def test_docker_context_goes_before_the_current_one(docker_config: Path) -> None:
    assert found(find_endpoint(None, {"DOCKER_CONTEXT": "remote"})) == ("unix:///run/remote.sock", "context remote")


def test_docker_host_goes_before_contexts(docker_config: Path) -> None:
    environ = {"DOCKER_HOST": "tcp://127.0.0.1:2375", "DOCKER_CONTEXT": "remote"}
    assert found(find_endpoint(None, environ)) == ("http://127.0.0.1:2375", "DOCKER_HOST")


def test_the_option_goes_before_all(docker_config: Path) -> None:
    endpoint = find_endpoint("unix:///own.sock", {"DOCKER_HOST": "tcp://127.0.0.1:2375"})
    assert found(endpoint) == ("unix:///own.sock", "the option base_url")


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"DOCKER_CONTEXT": "gone"}, "its context does not exist"),
        ({"DOCKER_HOST": "gopher://x"}, "gopher"),
        ({"DOCKER_HOST": "tcp://127.0.0.1:2376", "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": "/none"}, "certificate"),
    ],
)
def test_an_address_that_cannot_be_used(docker_config: Path, environ: dict[str, str], words: str) -> None:
    with pytest.raises(BackendUnavailableError, match=words):
        find_endpoint(None, environ)
