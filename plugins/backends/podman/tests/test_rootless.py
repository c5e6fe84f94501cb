"""A Podman of an ordinary user: the same sandboxes, and limits only where that user's control groups can hold them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from xagent_core import Engine, Limits, PolicyNotSupportedError

from .conftest import listens

pytestmark = [pytest.mark.slow, pytest.mark.engine("podman")]

USER = 65534
ASKED = {"memory": 2**27, "cpus": 0.5, "processes": 64}
# The user's range of further users, which a container's are made of, for this service only.
SERVICE = f"""
for kind in subuid subgid; do
  echo {USER}:200000:65536 >"$1/$kind" && mount --bind "$1/$kind" /etc/$kind
done
mkdir -m 700 "$1/run" "$1/home" && chown {USER} "$1/run" "$1/home"
exec setpriv --reuid {USER} --regid {USER} --clear-groups env -i HOME="$1/home" XDG_RUNTIME_DIR="$1/run" \\
  PATH="$PATH" sh -c 'podman load -q && exec podman system service --time=0 "unix://$XDG_RUNTIME_DIR/s"'
"""


@pytest.fixture
def rootless(folder: Path) -> Iterator[str]:
    """The address of an ordinary user's service that has the image of bash."""
    if os.geteuid() != 0 or shutil.which("newuidmap") is None:
        pytest.skip("needs root, to be somebody else, and newuidmap")
    image = folder / "image"
    subprocess.run(["podman", "save", "-q", "-o", image, "xagent-runtime-bash"], check=True)
    with image.open("rb") as stdin, (folder / "log").open("wb") as log:
        command = ["unshare", "--mount", "sh", "-ec", SERVICE, "sh", str(folder)]
        service = subprocess.Popen(command, stdin=stdin, stdout=log, stderr=log, cwd="/")
    url = f"unix://{folder}/run/s"
    while not listens(url):
        assert service.poll() is None, (folder / "log").read_text()
        time.sleep(0.1)
    yield url
    service.kill()
    service.wait()
    with suppress(FileNotFoundError):  # the process that keeps the user namespace
        os.kill(int((folder / "run/libpod/tmp/pause.pid").read_text()), signal.SIGKILL)


async def test_a_rootless_service(
    rootless: str, make_engine: Callable[..., Engine], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The service reads the list of system calls as its own user.
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    async with make_engine(base_url=rootless) as engine:
        assert "rootless" in (await engine.backend.probe()).detail
        held = (await engine.backend.capabilities()).limits
        lost = {"memory", "cpus", "processes"} - held
        code = (
            "id -u; cat /proc/self/uid_map; grep -E 'Seccomp:|CapBnd|NoNewPrivs' /proc/self/status; ls /sys/class/net"
        )
        result = await engine.execute(code, language="bash")
        assert result.ok, result.error
        assert set(result.unenforced) == lost
        words = result.output.split()
        assert words[0] == "1000"
        assert {"200000", "CapBnd:", "0000000000000000", "lo"} <= set(words)
        assert words[words.index("Seccomp:") + 1] == "2"
        assert words[words.index("NoNewPrivs:") + 1] == "1"
        for limit in lost:
            asked = Limits(**{limit: ASKED[limit]})
            with pytest.raises(PolicyNotSupportedError, match=limit):
                await engine.execute(code, language="bash", limits=asked)
