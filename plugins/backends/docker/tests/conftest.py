"""What the tests of the Docker backend share: an image made of the machine's own programs, and an engine."""

from __future__ import annotations

import fcntl
import io
import subprocess
import tarfile
import types
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from docker.api import APIClient
from docker.errors import ImageNotFound
from docker.utils.utils import kwargs_from_env
from xagent_docker.backend import DockerBackend

from xagent_core import Engine, Language, PoolConfig, hookimpl
from xagent_core.owner import Owner
from xagent_core.plugins import Plugins

IMAGE = "xagent-test:2"
PROGRAMS = "sh cat dd mkdir mkfifo rm find tar sleep".split()


@pytest.fixture
def client() -> Iterator[APIClient]:
    """The daemon, asked without the code under test."""
    client = APIClient(version="auto", **kwargs_from_env())
    yield client
    client.close()


@pytest.fixture
def left(client: APIClient) -> Callable[[], list[str]]:
    """The containers of this process that were not there before the test: other tests may keep an engine open."""

    def ours() -> list[str]:
        filters = {"label": f"xagent-owner={Owner.current()}"}
        return [container["Id"] for container in client.containers(all=True, filters=filters)]

    before = set(ours())
    return lambda: [container for container in ours() if container not in before]


@pytest.fixture
def image(client: APIClient, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An image with sh and Python, made without a registry. It stays, for the next run."""
    with (tmp_path_factory.getbasetemp().parent / "image.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests that run at the same time make it once
        try:
            client.inspect_image(IMAGE)
        except ImageNotFound:
            client.import_image_from_data(_root_of_this_machines_programs(), repository="xagent-test", tag="2")
    return IMAGE


@pytest.fixture
def plugins(image: str) -> Plugins:
    """Python that stands by, Python that does not, and sh."""
    common = {"image": image, "executables": ("python3",), "extensions": (".py",)}
    languages = [
        Language(name="test-standby", run=("python3", "-B", "{source}"), standby=True, **common),
        Language(name="test-python", run=("python3", "-B", "{source}"), **common),
        Language(name="test-sh", run=("sh", "{source}"), image=image, executables=("sh",), extensions=(".sh",)),
    ]
    module = types.ModuleType("languages")

    @hookimpl
    def xagent_register_languages() -> list[Language]:
        return languages

    module.xagent_register_languages = xagent_register_languages  # type: ignore[attr-defined]
    plugins = Plugins()
    plugins.add("languages", "test", "0", lambda: module)
    assert not plugins.failures
    return plugins


@pytest.fixture
def make_engine(plugins: Plugins) -> Callable[..., Engine]:
    """An engine on a backend of one's own."""

    def make(backend: DockerBackend | None = None, *, ready: int = 0, most: int = 16) -> Engine:
        return Engine(backend=backend or DockerBackend(), plugins=plugins, pool=PoolConfig(ready=ready, most=most))

    return make


@pytest.fixture
async def engine(make_engine: Callable[..., Engine]) -> AsyncIterator[Engine]:
    """An engine that starts each sandbox when it is needed."""
    async with make_engine() as engine:
        yield engine


def _root_of_this_machines_programs() -> bytes:
    """A root file system with a few of this machine's programs and the libraries that they need."""
    python = Path("/usr/bin/python3")
    library = Path(_lines(str(python), "-c", "import os; print(os.path.dirname(os.__file__))")[0])
    modules = [f for f in library.rglob("*") if f.is_file() and not {"__pycache__", "test"} & set(f.parts)]
    programs = [python, *(Path(_lines("sh", "-c", f"command -v {name}")[0]) for name in PROGRAMS)]
    linked = [file for file in (*programs, *modules) if file.suffix in ("", ".so")]
    needed = [Path(word) for file in linked for line in _ldd(file) for word in line.split() if word.startswith("/")]
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for file in sorted({*programs, *modules, *needed}):
            entry = tarfile.TarInfo(str(file).lstrip("/"))
            entry.size, entry.mode = file.stat().st_size, file.stat().st_mode & 0o755
            with file.open("rb") as content:
                tar.addfile(entry, content)
        for folder, mode in {"tmp": 0o1777, "proc": 0o755, "sys": 0o755, "dev": 0o755, "etc": 0o755}.items():
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, mode
            tar.addfile(entry)
    return buffer.getvalue()


def _ldd(file: Path) -> list[str]:
    done = subprocess.run(["ldd", file], capture_output=True, text=True, check=False)
    return done.stdout.splitlines() if done.returncode == 0 else []


def _lines(*command: str) -> list[str]:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
