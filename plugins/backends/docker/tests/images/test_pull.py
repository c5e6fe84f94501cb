"""`xagent images pull`, from a registry of one image that the test serves itself."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import secrets
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from docker.api import APIClient
from typer.testing import CliRunner
from xagent_docker.images.command import make_app

from xagent_core import ImageNotFoundError, Language, Packages

from .conftest import catalogue_of

pytestmark = [pytest.mark.engine("docker")]

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


def language(name: str, image: str, *packages: str) -> Language:
    return Language(
        name=name,
        image=image,
        run=("x",),
        executables=("x",),
        extensions=(f".{name}",),
        packages=Packages(apt=packages),
    )


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@pytest.fixture
def image(client: APIClient) -> Iterator[str]:
    """The name of an image that a registry on this machine has. The daemon asks loopback addresses without TLS."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        member = tarfile.TarInfo("file")
        member.size = 100_000
        tar.addfile(member, io.BytesIO(secrets.token_bytes(member.size)))
    layer = gzip.compress(archive.getvalue())
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [digest(archive.getvalue())]},
        }
    ).encode()
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {
                "mediaType": "application/vnd.docker.container.image.v1+json",
                "size": len(config),
                "digest": digest(config),
            },
            "layers": [
                {
                    "mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip",
                    "size": len(layer),
                    "digest": digest(layer),
                }
            ],
        }
    ).encode()
    contents = {
        "/v2/": b"{}",
        "/v2/test/manifests/1": manifest,
        f"/v2/test/manifests/{digest(manifest)}": manifest,
        f"/v2/test/blobs/{digest(config)}": config,
        f"/v2/test/blobs/{digest(layer)}": layer,
    }

    class Registry(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            data = contents.get(self.path)
            self.send_response(404 if data is None else 200)
            self.send_header("Content-Type", MANIFEST if data is manifest else "application/octet-stream")
            self.send_header("Content-Length", str(len(data or b"")))
            if data is not None:
                self.send_header("Docker-Content-Digest", digest(data))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(data or b"")

        do_HEAD = do_GET  # noqa: N815 - the name is the method's

        def log_message(self, *args: object) -> None:
            """Servers of tests are quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Registry)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    name = f"127.0.0.1:{server.server_port}/test:1"
    yield name
    server.shutdown()
    thread.join()
    server.server_close()
    if client.images(name):
        client.remove_image(name, force=True)


def test_languages_with_the_same_image_pull_it_once(client: APIClient, image: str) -> None:
    app = make_app(lambda: catalogue_of(language("one", image), language("two", image)))
    done = CliRunner().invoke(app, ["pull", "--json"])
    assert done.exit_code == 0, done.output
    (pulled,) = json.loads(done.stdout)
    assert (pulled["image"], pulled["languages"], pulled["error"]) == (image, ["one", "two"], None)
    assert pulled["id"] == client.inspect_image(image)["Id"]
    assert pulled["size"] >= 100_000


def test_nothing_is_drawn_where_nobody_looks(image: str) -> None:
    done = CliRunner().invoke(make_app(lambda: catalogue_of(language("one", image))), ["pull"])
    assert (done.exit_code, done.stderr) == (0, "")
    assert image in done.stdout


@pytest.mark.parametrize(
    ("packages", "fix"),
    [
        (["x"], "xagent images build one two --backend docker`, which needs no registry"),
        ([], "by hand (`docker pull 127.0.0.1:1/nobody/home:1`, or `docker load` from a file)"),
    ],
)
def test_an_unreachable_registry_points_to_what_needs_none(packages: list[str], fix: str) -> None:
    name = "127.0.0.1:1/nobody/home:1"
    app = make_app(lambda: catalogue_of(language("one", name, *packages), language("two", name, *packages)))
    with pytest.raises(ImageNotFoundError, match=f"image {name} cannot be pulled") as failed:
        CliRunner().invoke(app, ["pull"], catch_exceptions=False)
    assert fix in failed.value.fix


def test_one_image_that_fails_does_not_keep_another_from_being_pulled(image: str) -> None:
    app = make_app(lambda: catalogue_of(language("bad", "127.0.0.1:1/nobody/home:1", "x"), language("good", image)))
    done = CliRunner().invoke(app, ["pull", "--json"])
    bad, good = json.loads(done.stdout)
    assert (bad["present"], good["present"], done.exit_code) == (False, True, 125)
    assert "xagent images build bad" in bad["error"]


def test_a_language_without_a_default_image_is_only_noted() -> None:
    app = make_app(lambda: catalogue_of(language("one", "", "x"), language("two", "")))
    done = CliRunner().invoke(app, ["pull", "--json"])
    assert json.loads(done.stdout) == []
    assert "one names no default image: run `xagent images build one --backend docker`" in done.stderr
    assert "two names no default image: name an image in the table [backends.docker.images]" in done.stderr
