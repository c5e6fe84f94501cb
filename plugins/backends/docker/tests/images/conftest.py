"""What the tests of `xagent images` share: two small languages, and one real build of them for the whole session."""

from __future__ import annotations

import asyncio
import io
import os
import secrets
import shlex
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from docker.api import APIClient
from docker.errors import ImageNotFound
from docker.utils.utils import kwargs_from_env
from xagent_docker.daemon import Daemon
from xagent_docker.images.build import Outcome, build_images
from xagent_docker.images.progress import Steps
from xagent_docker.images.sources import AptSource, machine_source

from xagent_core import Language, Packages
from xagent_core.catalogue import Catalogue
from xagent_core.containers.service import ServiceChoice

# Given to apt as a proxy's password could be: it must not be found inside.
SECRET = "c2VjcmV0LW9mLXRoZS1ob3N0"

SETUP = """
greet > "$XAGENT_CACHE/greeting"
id -u > "$XAGENT_CACHE/user"
ls /sys/class/net > "$XAGENT_CACHE/networks"
if touch /usr/forbidden 2>/dev/null; then exit 9; fi
"""


# What the fake mmdebstrap is asked for, and of what it makes roots.
SOURCE = AptSource(suite="bookworm", options=('Acquire::http::Proxy "http://user:password@proxy";',))
OLD = 1_500_000_000
DIR: dict[str, object] = {"type": tarfile.DIRTYPE, "mode": 0o755}
FILE: dict[str, object] = {"mode": 0o644}
Fake = Callable[[str], None]


def make_wheel(folder: Path, name: str, files: Mapping[str, str | bytes], version: str = "1.0") -> Path:
    """A wheel of those files, all executable. `pip download` wants to see METADATA."""
    folder.mkdir(parents=True, exist_ok=True)
    info = f"{name.replace('-', '_')}-{version}"
    path = folder / f"{info}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for file, text in files.items():
            item = zipfile.ZipInfo(file)
            item.external_attr = 0o100755 << 16
            wheel.writestr(item, text)
        wheel.writestr(f"{info}.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        wheel.writestr(f"{info}.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}.dist-info/RECORD", "")
    return path


def catalogue_of(*languages: Language) -> Catalogue[Language]:
    catalogue: Catalogue[Language] = Catalogue("language", [])
    for language in languages:
        catalogue.add(language, "xagent-test")
    return catalogue


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Makes wheels, and has pip find those and no others."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    return lambda name, files: make_wheel(tmp_path / "wheels", name, files)


@pytest.fixture
def mmdebstrap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    """Puts a shell script on the PATH in the place of mmdebstrap; its last argument is where the root goes."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")

    def install(script: str) -> None:
        program = tmp_path / "bin/mmdebstrap"
        # SUITE TARGET come last, as SOURCE has no lines.
        program.write_text(f"#!/bin/sh\nfor target; do :; done\n{script}\n")
        program.chmod(0o755)

    return install


@pytest.fixture
def root_of(tmp_path: Path, mmdebstrap: Fake) -> Callable[..., None]:
    """Has mmdebstrap make a root of those members: (name, content or link, fields of the member)."""

    def make(*members: tuple[str, str, dict[str, object]]) -> None:
        with tarfile.open(tmp_path / "made.tar", "w") as tar:
            for name, content, fields in members:
                member = tarfile.TarInfo(f"./{name}")
                member.mtime = OLD
                for field, value in fields.items():
                    setattr(member, field, value)
                if not member.isreg():
                    member.linkname = content
                member.size = len(content) if member.isreg() else 0
                tar.addfile(member, io.BytesIO(content.encode()))
        mmdebstrap(f'cp {shlex.quote(str(tmp_path))}/made.tar "$target"')

    return make


@dataclass(frozen=True)
class Built:
    """The session's build: a language of a wheel alone, and one of a wheel, a Debian package and a setup script.

    The third, whose program lacks a shared library, has failed.
    """

    plain: Language
    full: Language
    broken: Language
    source: AptSource
    outcomes: list[Outcome]

    @property
    def languages(self) -> Catalogue[Language]:
        return catalogue_of(self.plain, self.full)

    def build(self, *languages: Language, force: bool = False) -> list[Outcome]:
        return asyncio.run(_build(languages, self.source, force=force))


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    """Real images, made once; parallel test processes make their own."""
    folder, mark = tmp_path_factory.mktemp("wheels"), secrets.token_hex(4)
    make_wheel(folder, "xtest-greet", {"xtest_greet/bin/greet": '#!/bin/sh\necho "hello ${1:+from $(cat "$1")}"\n'})
    wheel = {"pip": ("xtest-greet",), "programs": (("greet", "xtest_greet/bin/greet"),)}
    plain = Language(
        name=f"plain-{mark}",
        run=("greet", "{source}"),
        executables=("greet",),
        extensions=(".greet",),
        packages=Packages(**wheel),  # type: ignore[arg-type]
    )
    full = Language(
        name=f"full-{mark}",
        run=("ed", "-s", "{source}"),
        executables=("greet", "ed"),
        extensions=(".ed",),
        image="127.0.0.1:1/nobody/home:1",
        packages=Packages(apt=("ed", "bash"), setup=SETUP, **wheel),  # type: ignore[arg-type]
    )
    make_wheel(folder, "xtest-linked", {"apt": Path("/usr/bin/apt").read_bytes()})
    linked = Packages(pip=("xtest-linked",), programs=(("linked", "apt"),))
    broken = replace(plain, name=f"broken-{mark}", executables=("linked",), packages=linked)
    machine = machine_source()
    options = (*machine.options, f'Acquire::http::User-Agent "{SECRET}"')
    source = AptSource(suite=machine.suite, lines=machine.lines, options=options)
    patch = pytest.MonkeyPatch()
    with patch.context() as context:
        context.setenv("PIP_NO_INDEX", "1")
        context.setenv("PIP_FIND_LINKS", str(folder))
        outcomes = asyncio.run(_build((plain, full, broken), source, force=False))
        yield Built(plain, full, broken, source, outcomes)
    client = APIClient(version="auto", **kwargs_from_env())
    for outcome in outcomes:
        try:
            client.remove_image(outcome.name, force=True)
        except ImageNotFound:
            assert outcome.error, f"{outcome.name} was built and is gone"
    client.close()


async def _build(languages: tuple[Language, ...], source: AptSource, *, force: bool) -> list[Outcome]:
    daemon = await Daemon.connect(ServiceChoice(environ=os.environ))
    try:
        with Steps() as steps:
            return await build_images(daemon, languages, source=source, steps=steps, force=force)
    finally:
        daemon.close()


@pytest.fixture
async def daemon() -> Iterator[Daemon]:  # type: ignore[misc]
    connected = await Daemon.connect(ServiceChoice(environ=os.environ))
    yield connected
    connected.close()


@pytest.fixture
def inside(client: APIClient) -> Callable[[str, str], str]:
    """Runs a shell script in an image as its own user, without a network, and gives what it printed."""

    def run(image: str, script: str) -> str:
        container = client.create_container(image, ["sh", "-c", script], network_disabled=True)["Id"]
        try:
            client.start(container)
            client.wait(container)
            return client.logs(container).decode()
        finally:
            client.remove_container(container, force=True)

    return run


@pytest.fixture
def no_leftovers() -> Iterator[None]:
    """Fails when the test leaves a temporary folder behind."""
    yield
    assert not list(Path(os.environ.get("TMPDIR") or "/var/tmp").glob(f"xagent-images-{os.getpid()}-*"))
