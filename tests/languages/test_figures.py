"""Figures of a session, with the real matplotlib in an image as users make theirs: their own wheels on top of ours."""

from __future__ import annotations

import io
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from docker.client import from_env
from uv import find_uv_bin

from xagent_core import Engine, Limits, PoolConfig, get_backend
from xagent_core.types import MIB

pytestmark = [pytest.mark.engine("docker"), pytest.mark.slow]

PNG = b"\x89PNG\r\n\x1a\n"
TAG = "xagent-test-matplotlib:latest"
SITE = "usr/lib/python3/dist-packages"


@pytest.fixture
def image(tmp_path: Path) -> Iterator[str]:
    """xagent's image for Python, and matplotlib."""
    client = from_env()
    ours = "xagent-runtime-python:latest"
    version = client.containers.run(
        ours, ["python3", "-c", "import sys; print('%d.%d' % sys.version_info[:2])"], remove=True
    )
    packages = tmp_path / "packages"
    install = ("pip", "install", "-q", "--target", str(packages), "--only-binary", ":all:", "--python-version")
    subprocess.run([find_uv_bin(), *install, version.decode().strip(), "matplotlib"], check=True)
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as archive:
        archive.add(packages, "packages")
        dockerfile = f"FROM {ours}\nCOPY packages /{SITE}\n".encode()
        member = tarfile.TarInfo("Dockerfile")
        member.size = len(dockerfile)
        archive.addfile(member, io.BytesIO(dockerfile))
    context.seek(0)
    client.images.build(fileobj=context, custom_context=True, tag=TAG, rm=True, forcerm=True)
    yield TAG
    client.images.remove(TAG, force=True)
    client.close()


DRAW = """
import matplotlib.pyplot as plt
for power in (1, 2):
    plt.figure()
    plt.plot([x ** power for x in range(10)])
plt.show()
"""


async def test_each_figure_comes_back_as_a_png_file(image):
    backend = get_backend("docker", images={"python": image})
    limits = Limits(memory=512 * MIB, cpus=2)
    async with (
        Engine(backend, pool=PoolConfig(ready=0)) as engine,
        engine.session("python", timeout=120, limits=limits) as session,
    ):
        drawn = await session.execute(DRAW)
        assert (drawn.status, drawn.error) == ("success", "")
        assert [file.path for file in drawn.files] == ["figure-1-1.png", "figure-1-2.png"]
        assert all(file.content.startswith(PNG) and len(file.content) > 5_000 for file in drawn.files)
        # They were closed: the next call has only its own.
        again = await session.execute("plt.plot([3, 1, 2]); plt.gcf().axes[0].lines[0].get_ydata().tolist()")
        assert ([file.path for file in again.files], again.value) == (["figure-2-1.png"], "[3, 1, 2]")
