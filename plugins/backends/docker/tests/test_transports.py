"""The same daemon over TCP and TLS, through a server that forwards to its socket."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from xagent_docker.backend import DockerBackend
from xagent_docker.endpoint import find_endpoint

from xagent_core import Engine

pytestmark = pytest.mark.engine("docker")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as DOCKER_CERT_PATH wants it; one certificate is its own authority, the server's and the client's."""
    return _certificates(tmp_path_factory.mktemp("certificates"))


def _certificates(folder: Path) -> Path:
    options = "-x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1"
    command = ["openssl", "req", *options.split(), "-keyout", "key.pem", "-out", "cert.pem"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    (folder / "ca.pem").write_bytes((folder / "cert.pem").read_bytes())
    return folder


def tls(certificates: Path) -> ssl.SSLContext:
    """A server's side, which wants certificates of its clients."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=certificates / "ca.pem")
    context.load_cert_chain(certificates / "cert.pem", certificates / "key.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    return context


@asynccontextmanager
async def forwarded(context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """The port of a server in front of the daemon's socket."""
    target = find_endpoint(None, {}).url.removeprefix("unix://")
    served: set[asyncio.Task[None]] = set()

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            return
        finally:
            writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        served.add(task)
        there, back = await asyncio.open_unix_connection(target)
        await asyncio.gather(copy(reader, back), copy(there, writer))

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]
        server.close()
        if served:
            await asyncio.wait(served)


async def test_tcp(make_engine: Callable[..., Engine]) -> None:
    async with forwarded() as port:
        backend = DockerBackend(environ={"DOCKER_HOST": f"tcp://127.0.0.1:{port}"})
        async with make_engine(backend, ready=1) as engine:
            result = await engine.execute("import sys; print(sys.stdin.read())", language="test-python", stdin="over")
    assert result.output == "over\n"


async def test_tls_with_client_certificates(
    make_engine: Callable[..., Engine], certificates: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/none")  # no business of Docker's
    async with forwarded(tls(certificates)) as port:
        environ = {"DOCKER_HOST": f"tcp://127.0.0.1:{port}", "DOCKER_TLS_VERIFY": "1"}
        backend = DockerBackend(environ=environ | {"DOCKER_CERT_PATH": str(certificates)})
        async with make_engine(backend, ready=1) as engine:
            result = await engine.execute("print('x' * 1000000)", language="test-python")
            assert (await engine.backend.probe()).detail.endswith(f"at https://127.0.0.1:{port}")
    assert result.output == "x" * 1000000 + "\n"


async def test_a_certificate_that_is_not_trusted(certificates: Path, tmp_path: Path) -> None:
    environ = {"DOCKER_CERT_PATH": str(_certificates(tmp_path))}
    async with forwarded(tls(certificates)) as port:
        environ["DOCKER_HOST"] = f"tcp://127.0.0.1:{port}"
        probe = await DockerBackend(environ=environ | {"DOCKER_TLS_VERIFY": "1"}).probe()

    assert not probe.available
    assert "DOCKER_CERT_PATH" in probe.fix
