"""The composition is valid and hardened, and only the proxy has the engine's socket; it lets little through."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest
import yaml

from tests.deploy.conftest import DEPLOY
from tests.deploy.filter import AllowList, filtering
from tests.deploy.stack import xagent
from xagent_core import Engine, PoolConfig

COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))
SERVICES = COMPOSE["services"]
OURS = ("worker", "exporter", "api")
PROXY = SERVICES["socket-proxy"]["command"]


def compose(program) -> list[str]:
    """Docker's own plugin where there is one, else Debian's docker-compose."""
    if shutil.which("docker"):
        known = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False)
        if known.returncode == 0:
            return ["docker", "compose"]
    return [program("docker-compose")]


@pytest.fixture
def deployed(tmp_path, deploy):
    """A copy with secrets."""
    copy = shutil.copytree(deploy, tmp_path / "deploy")
    subprocess.run(["sh", copy / "make-secrets.sh"], check=True)
    return copy


@pytest.mark.slow
def test_compose_takes_it(program, deployed):
    command = [*compose(program), "-f", str(deployed / "compose.yaml"), "config"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert set(yaml.safe_load(done.stdout)["services"]) == set(SERVICES)


@pytest.mark.slow
def test_compose_would_complain(program, deployed):
    text = (deployed / "compose.yaml").read_text("utf-8").replace("restart: unless-stopped", "restrat: always")
    (deployed / "compose.yaml").write_text(text, "utf-8")
    command = [*compose(program), "-f", str(deployed / "compose.yaml"), "config"]
    assert subprocess.run(command, capture_output=True, check=False).returncode != 0


@pytest.mark.parametrize("name", SERVICES)
def test_each_service_is_hardened_limited_and_asked_for_its_health(name):
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert not {"privileged", "cap_add", "pid", "ipc", "network_mode", "devices"} & service.keys()
    assert {"mem_limit", "cpus", "pids_limit"} <= service.keys()
    assert service["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL")
    assert "build" in service or re.fullmatch(r"[a-z./-]+:v?\d+(\.\d+)+[a-z0-9.-]*", service["image"])
    assert "build" in service or service["user"].split(":")[0] not in ("0", "root")
    for port in service.get("ports", ()):
        assert port.startswith("127.0.0.1:")


def test_only_the_proxy_has_the_engines_socket():
    with_socket = [name for name, service in SERVICES.items() if "docker.sock" in str(service.get("volumes", ""))]
    assert with_socket == ["socket-proxy"]
    assert COMPOSE["networks"]["engine"] == {"internal": True}
    on_its_network = {name for name, service in SERVICES.items() if "engine" in service["networks"]}
    assert on_its_network == {"socket-proxy", "worker", "api"}
    assert "-allowfrom=worker,api" in PROXY
    assert "ports" not in SERVICES["socket-proxy"]


def test_the_queues_server_is_the_first_process_which_is_told_to_stop():
    assert SERVICES["redis"]["command"][2].startswith("exec redis-server")


def test_secrets_come_from_files_and_are_in_no_variable(deployed):
    made = {file.name for file in (deployed / "secrets").iterdir()} - {".gitignore"}
    assert {secret["file"] for secret in COMPOSE["secrets"].values()} == {f"secrets/{name}" for name in made}
    assert all(set(secret) == {"file"} for secret in COMPOSE["secrets"].values())
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            assert not re.search("PASSWORD|TOKEN|SECRET|_URL", name) or str(value).startswith("/run/secrets/")


def test_secrets_are_made_once_and_only_their_owner_gets_at_them(deployed):
    folder = deployed / "secrets"
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    subprocess.run(["sh", deployed / "make-secrets.sh"], check=True)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before
    assert folder.stat().st_mode & 0o077 == 0
    assert before["redis_password"] in before["xagent_config"]
    assert len({before[name] for name in ("redis_password", "api_token", "grafana_password")}) == 3


@pytest.mark.parametrize("name", OURS)
def test_the_commands_are_ones_that_xagent_has(name):
    """With `--help` behind them, options that there are not are still refused."""
    command = [*xagent(*SERVICES[name]["command"]), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    options = [word for word in SERVICES[name]["command"] if word.startswith("--")]
    assert options
    for option in options:
        assert option in done.stdout


DENIED = [
    "POST /v1.41/containers/abc/exec",
    "POST /v1.41/exec/abc/start",
    "POST /v1.41/build",
    "POST /v1.41/images/create",
    "DELETE /v1.41/images/abc",
    "POST /v1.41/volumes/create",
    "POST /v1.41/networks/create",
    "GET /v1.41/containers/abc/archive",
    "PUT /v1.41/containers/abc/archive",
    "GET /v1.41/containers/abc/logs",
    "GET /v1.41/containers/abc/json",
    "POST /v1.41/containers/abc/update",
    "POST /v1.41/containers/prune",
    "DELETE /v1.41/containers/abc/../../images/abc",
    "GET /v1.41/secrets",
    "POST /v1.41/swarm/init",
    "POST /v1.41/plugins/pull",
    "POST /v1.41/auth",
]


@pytest.mark.parametrize("request_line", DENIED)
def test_the_proxy_lets_nothing_else_through(request_line):
    assert not AllowList(PROXY).lets_through(*request_line.split())


@pytest.mark.slow
@pytest.mark.engine("docker")
async def test_xagent_needs_no_more_than_the_proxy_lets_through(tmp_path, monkeypatch):
    allowed = AllowList(PROXY)
    listen = tmp_path / "filtered.sock"
    monkeypatch.setenv("DOCKER_HOST", f"unix://{listen}")
    async with filtering(allowed, listen, "/var/run/docker.sock"):
        async with Engine("docker", pool=PoolConfig(ready=1), warm=["python"]) as engine:
            result = await engine.execute("print(6 * 7)", timeout=30)
            stopped = await engine.execute("while True: pass", timeout=0.5)
            async with engine.session("python", timeout=30) as session:
                await session.execute("x = 41")
                answer = await session.execute("print(x + 1)")
        assert (result.status, result.output) == ("success", "42\n")
        assert (stopped.status, answer.output) == ("timeout", "42\n")
    assert allowed.blocked == []
    containers = {pattern for pattern in allowed.used if "containers" in pattern}
    assert len(containers) >= 3
