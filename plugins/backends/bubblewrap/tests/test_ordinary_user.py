"""Runs these tests once more as a user who is not root, in a namespace where that user can read this Python."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.engine("bubblewrap")

_UID = 54321

# The first argument is a folder to work in; then come pairs, up to `--`: a folder that only root can enter, and what
# must be seen in it. It is replaced by an empty folder with only that. The namespace ends with the command.
_REVEAL = """
base=$1; shift
mkdir "$base" && mount -t tmpfs tmpfs "$base" && chmod 711 "$base" || exit 1
last=
while [ "$1" != -- ]; do
  hidden=$1; wanted=$2; shift 2
  if [ "$hidden" != "$last" ]; then
    [ -z "$last" ] || umount -l "$base/0"
    mkdir -p "$base/0" && mount --bind "$hidden" "$base/0" && mount -t tmpfs -o mode=755 tmpfs "$hidden" || exit 1
    last=$hidden
  fi
  mkdir -p "$wanted" && mount --bind "$base/0${wanted#"$hidden"}" "$wanted" || exit 1
done
[ -z "$last" ] || umount -l "$base/0"
shift
exec setpriv --reuid "$UID_" --regid "$UID_" --clear-groups "$@"
"""


def hidden_folders() -> list[tuple[Path, Path]]:
    """Each folder on the way to our files that others may not enter, with each one below it that they must see."""
    project = _settings(Path(__file__).parent).parent
    found = set()
    for wanted in {project, *(Path(path).resolve() for path in (sys.base_prefix, sys.prefix, *filter(None, sys.path)))}:
        for parent in reversed(wanted.parents):
            if wanted.is_dir() and not parent.stat().st_mode & 0o001:
                found.add((parent, wanted))
                break
    return sorted(found)


@pytest.fixture
def home() -> Iterator[Path]:
    """Beside pytest's own folders, which only the user who runs the tests can enter."""
    with tempfile.TemporaryDirectory(prefix="xagent-user-") as folder:
        os.chown(folder, _UID, _UID)
        yield Path(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="this run is an ordinary user's already")
@pytest.mark.skipif("XAGENT_TEST_NESTED" in os.environ, reason="this is the nested run")
def test_all_of_it_as_an_ordinary_user(home: Path, tmp_path: Path) -> None:
    reveal = [str(path) for pair in hidden_folders() for path in pair]
    tests = Path(__file__).parent
    run = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", _REVEAL, "sh", str(tmp_path / "base"), *reveal,
         "--", sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--basetemp", str(home / "tests"),
         "--tb=short", "--rootdir", str(tests), "-c", str(_settings(tests)), str(tests)],
        env={
            "HOME": str(home), "PATH": os.environ["PATH"], "UID_": str(_UID), "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path), "XAGENT_TEST_NESTED": "1",
            "XAGENT_REQUIRE_ENGINES": "bubblewrap",
        },
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout[-6000:] + run.stderr[-2000:]
    assert " passed" in run.stdout


def _settings(tests: Path) -> Path:
    """The project's pyproject.toml, which holds pytest's settings."""
    return next(path for parent in tests.parents if (path := parent / "pyproject.toml").exists()
                and "[tool.pytest" in path.read_text())  # fmt: skip
