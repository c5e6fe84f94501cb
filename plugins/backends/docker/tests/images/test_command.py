"""The command line of `xagent images`: what it prints, and how it fails."""

from __future__ import annotations

import errno
import json
import types
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner
from xagent_docker.images.build import build_images
from xagent_docker.images.command import make_app
from xagent_docker.images.failures import naming_a_full_disk
from xagent_docker.images.progress import Steps
from xagent_docker.images.recipe import PresentImage, is_current, runtime_labels
from xagent_docker.images.sources import AptSource

from xagent_core import (
    BackendError,
    BackendUnavailableError,
    InvalidRequestError,
    Language,
    Packages,
    UnknownLanguageError,
    load_plugins,
)

from .conftest import Built, catalogue_of

LANGUAGE = Language(
    name="awk",
    image="127.0.0.1:1/nobody/awk:1",
    run=("awk", "-f", "{source}"),
    executables=("awk",),
    extensions=(".awk",),
    packages=Packages(apt=("mawk",)),
)


def invoke(built_or_language: Built | Language, *arguments: str) -> object:
    """Runs the command; an error comes out as it does for the `xagent` command, which prints it."""
    languages = (
        catalogue_of(built_or_language) if isinstance(built_or_language, Language) else built_or_language.languages
    )
    done = CliRunner().invoke(make_app(lambda: languages), list(arguments), catch_exceptions=False)
    return json.loads(done.stdout) if "--json" in arguments else done.stdout


def test_the_plugin_announces_the_command() -> None:
    commands = load_plugins().commands
    assert (commands["images"].name, commands.distribution("images")) == ("images", "xagent-docker")


@pytest.mark.engine("podman")
def test_the_images_of_another_backend() -> None:
    (item,) = invoke(LANGUAGE, "list", "--backend", "podman", "--json")  # type: ignore[misc]
    assert (item["language"], item["own"]["present"]) == ("awk", False)


@pytest.mark.engine("bubblewrap")
def test_a_backend_that_runs_no_images() -> None:
    with pytest.raises(InvalidRequestError, match="the backend bubblewrap has no images"):
        invoke(LANGUAGE, "list", "--backend", "bubblewrap")


@pytest.mark.engine("docker")
@pytest.mark.slow
@pytest.mark.xdist_group("images")  # one build for all
def test_list_shows_what_is_there_and_what_is_used(built: Built) -> None:
    full, plain = sorted(invoke(built, "list", "--json"), key=lambda item: item["language"])  # type: ignore[call-overload]
    own = full["own"]
    assert full["default"] == {
        "image": built.full.image, "present": False, "id": None, "size": None, "created": None
    }  # fmt: skip
    assert (own["image"], own["present"], own["current"]) == (built.outcomes[1].name, True, True)
    assert own["versions"]["xtest-greet"] == "1.0"
    assert own["created"].startswith("20")
    assert own["size"] > 1_000_000
    assert full["used"] == own["image"]
    assert plain["default"] is None


@pytest.mark.engine("docker")
def test_list_says_that_the_default_image_would_be_pulled() -> None:
    (item,) = invoke(replace(LANGUAGE, name="never-built"), "list", "--json")  # type: ignore[misc]
    assert (item["own"]["present"], item["used"]) == (False, LANGUAGE.image)
    assert "pulled on first use" in str(invoke(replace(LANGUAGE, name="never-built"), "list"))


@pytest.mark.engine("docker")
@pytest.mark.slow
@pytest.mark.xdist_group("images")  # one build for all
def test_build_says_what_is_current(built: Built) -> None:
    items = invoke(built, "build", "--json")
    assert [(item["built"], item["error"], item["present"]) for item in items] == [(False, None, True)] * 2  # type: ignore[attr-defined]


@pytest.mark.engine("docker")
def test_a_language_without_packages_is_told_to_use_its_default_image() -> None:
    with pytest.raises(BackendError, match="xagent images pull bare"):
        invoke(replace(LANGUAGE, name="bare", packages=Packages()), "build")


@pytest.mark.engine("docker")
def test_a_language_without_packages_and_image_is_told_where_to_name_one() -> None:
    with pytest.raises(BackendError, match="names no packages") as failed:
        invoke(replace(LANGUAGE, packages=Packages(), image=""), "build")
    assert "the backend's option `images`" in failed.value.fix


@pytest.mark.engine("docker")
@pytest.mark.slow
@pytest.mark.xdist_group("images")  # one build for all
def test_one_language_that_fails_does_not_keep_another_from_its_image(built: Built) -> None:
    bare = replace(LANGUAGE, name="bare", packages=Packages())
    app = make_app(lambda: catalogue_of(bare, built.plain))
    done = CliRunner().invoke(app, ["build", "--json"])
    failed, current = json.loads(done.stdout)
    assert (failed["language"], failed["present"], current["present"], done.exit_code) == ("bare", False, True, 125)


def test_an_unknown_language_is_named_with_what_is_near() -> None:
    with pytest.raises(UnknownLanguageError, match="awk"):
        invoke(LANGUAGE, "build", "awkk")


@pytest.mark.parametrize("command", ["list", "pull", "build"])
def test_without_a_daemon_the_error_says_how_to_start_one(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/docker.sock")
    with pytest.raises(BackendUnavailableError, match="no socket"):
        invoke(LANGUAGE, command)


async def test_a_daemon_on_another_kind_of_machine_is_refused() -> None:
    daemon = types.SimpleNamespace(info={"Architecture": "pdp11"})
    with pytest.raises(BackendError, match="pdp11"), Steps() as steps:
        await build_images(daemon, [LANGUAGE], source=AptSource(suite="bookworm"), steps=steps, force=False)  # type: ignore[arg-type]


def test_a_full_disk_is_named() -> None:
    words = r"no space is left on the disk of the folder.*TMPDIR"
    with pytest.raises(BackendError, match=words) as failed, naming_a_full_disk("the folder"):
        Path("/dev/full").write_bytes(b"x")
    assert isinstance(failed.value.__cause__, OSError)
    assert failed.value.__cause__.errno == errno.ENOSPC


@pytest.mark.parametrize(
    ("change", "current"),
    [
        ({}, True),
        ({"summary": "other words"}, True),
        ({"packages": Packages(apt=("gawk",))}, False),
        ({"packages": Packages(apt=("mawk",), setup="true")}, False),
        ({"name": "other"}, False),
    ],
)
def test_an_image_is_current_while_its_parts_are_the_same(change: dict[str, object], current: bool) -> None:
    labels = runtime_labels(LANGUAGE, suite="bookworm", versions={"mawk": "1.3"})
    image = PresentImage(id="sha256:0", size=1, created="2026-01-01T00:00:00Z", labels=labels)
    assert is_current(image, replace(LANGUAGE, **change)) is current  # type: ignore[arg-type]
    assert is_current(image, LANGUAGE, "bookworm")
    assert not is_current(image, LANGUAGE, "trixie"), "asked for by name, the release counts too"
    assert image.versions == {"mawk": "1.3"}
