"""What `xagent images build` makes, looked at from the inside. All of it is of one real build."""

from __future__ import annotations

import json
import types
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from docker.api import APIClient
from xagent_docker.backend import DockerBackend
from xagent_docker.daemon import Daemon
from xagent_docker.images.setup_script import run_setup

from xagent_core import BackendError, Engine, Packages, PoolConfig, hookimpl
from xagent_core.plugins import Plugins

from .conftest import SECRET, Built

pytestmark = [
    pytest.mark.engine("docker"),
    pytest.mark.slow,
    pytest.mark.usefixtures("no_leftovers"),
    pytest.mark.xdist_group("images"),  # one build for all, and no other beside it
]

Inside = Callable[[str, str], str]


@pytest.fixture
def full(built: Built) -> str:
    """The name of the image that has everything."""
    assert [outcome.error for outcome in built.outcomes[:2]] == [None, None]
    return built.outcomes[1].name


@pytest.fixture
def plain(built: Built, full: str) -> str:
    """The name of the image that has a wheel alone."""
    return built.outcomes[0].name


def test_programs_run_as_the_user_sandbox_with_a_path(full: str, inside: Inside) -> None:
    assert inside(full, "id -u; id -un; id -gn; echo $PATH").split("\n")[:3] == ["1000", "sandbox", "sandbox"]
    assert "/usr/local/bin:" in inside(full, "echo $PATH")


def test_the_guest_finds_the_programs_it_needs(plain: str, inside: Inside) -> None:
    programs = "sh mkdir mkfifo rm dd cat find tar".split()
    assert len(inside(plain, f"for p in {' '.join(programs)}; do command -v $p; done").split()) == len(programs)


def test_the_programs_of_wheels_and_of_debian_packages_run(full: str, inside: Inside) -> None:
    assert inside(full, "greet").strip() == "hello"
    assert inside(full, "printf 'a\\nbuilt\\n.\\n,p\\nQ\\n' | ed -s").strip() == "built"


def test_the_setup_script_ran_unprivileged_and_without_a_network(built: Built, full: str, inside: Inside) -> None:
    cache = f"/opt/xagent/{built.full.name}"
    assert inside(full, f"cd {cache} && cat greeting user networks").split() == ["hello", "1000", "lo"]


def test_what_the_setup_script_made_is_read_only(built: Built, full: str, inside: Inside) -> None:
    cache = f"/opt/xagent/{built.full.name}"
    assert "denied" in inside(full, f"touch {cache}/new {cache}/greeting").lower()
    assert inside(full, f"find {cache} ! -user root").strip() == ""


@pytest.mark.parametrize(
    ("what", "script"),
    [
        ("apt's sources, proxies and caches", "find /etc/apt /var/lib/apt /var/cache /var/log -mindepth 1"),
        ("manuals and other documentation", "find /usr/share/doc /usr/share/man -type f ! -name copyright"),
        ("programs that change the user", "find / -xdev -perm /6000"),
        ("secrets of the host", f"grep -rlF {SECRET} /etc /usr /var /opt /home"),
        ("files that the user could change", "find / -xdev -writable -type f ! -path '/proc/*' ! -path '/dev/*'"),
        ("temporary files", "find /tmp /var/tmp /run -mindepth 1 ! -path '/run/.containerenv'"),
    ],
)
def test_nothing_is_inside_that_does_not_belong_there(full: str, inside: Inside, what: str, script: str) -> None:
    assert inside(full, f"{script} 2>/dev/null").strip() == "", what


def test_an_image_of_a_wheel_is_small(client: APIClient, plain: str) -> None:
    assert client.inspect_image(plain)["Size"] < 70_000_000


def test_labels_tell_the_language_and_the_versions_inside(client: APIClient, built: Built, full: str) -> None:
    labels = client.inspect_image(full)["Config"]["Labels"]
    versions = json.loads(labels["xagent-runtime.versions"])
    assert labels["xagent-runtime"] == built.full.name
    assert versions["xtest-greet"] == "1.0"
    assert set(versions) == {"base-files", "bash", "ed", "xtest-greet"}


def test_images_share_the_layers_that_languages_have_in_common(client: APIClient, plain: str, full: str) -> None:
    lower, upper = (client.inspect_image(name)["RootFS"]["Layers"] for name in (plain, full))
    assert lower[:2] == upper[:2], "the minimal Debian and the wheel"


def test_what_is_current_is_not_built_again(built: Built, full: str) -> None:
    again = built.build(built.full)[0]
    assert (again.built, again.image) == (False, built.outcomes[1].image)


def test_force_builds_the_same_layers_and_replaces_the_image(client: APIClient, built: Built, plain: str) -> None:
    before = client.inspect_image(plain)
    again = built.build(built.plain, force=True)[0]
    after = client.inspect_image(plain)
    assert again.built
    assert after["Id"] != before["Id"]
    assert after["RootFS"]["Layers"] == before["RootFS"]["Layers"]
    assert before["Id"] not in [image["Id"] for image in client.images(all=True)]


async def test_sandboxes_use_the_image_that_was_built(built: Built, full: str) -> None:
    module = types.SimpleNamespace(xagent_register_languages=hookimpl(lambda: [built.plain]))
    plugins = Plugins()
    plugins.add("languages", "test", "0", lambda: module)
    async with Engine(backend=DockerBackend(), plugins=plugins, pool=PoolConfig(ready=0, most=1)) as engine:
        result = await engine.execute("a sandbox", language=built.plain.name)
    assert (result.output, result.status) == ("hello from a sandbox\n", "success")


def test_a_program_that_lacks_a_shared_library_gets_no_image(client: APIClient, built: Built) -> None:
    failed = built.outcomes[2]
    assert "lack shared libraries: linked:libapt-" in str(failed.error)
    assert client.images(failed.name) == []


async def test_a_setup_script_that_fails_is_shown_and_removed(
    built: Built, full: str, daemon: Daemon, tmp_path: Path
) -> None:
    broken = replace(built.full, packages=Packages(setup="echo cannot find the compiler >&2; exit 3"))
    with pytest.raises(BackendError, match="status 3: cannot find the compiler"):
        await run_setup(daemon, broken, full, tmp_path / "layer")
    # A container that is being removed may have no name any more.
    names = [name for container in daemon.client.containers(all=True) for name in container["Names"] or ()]
    assert not [name for name in names if "/xagent-setup-" in name]


def test_a_build_leaves_no_stage_images(client: APIClient, full: str) -> None:
    tags = [tag for image in client.images() for tag in image["RepoTags"] or ()]
    assert not [tag for tag in tags if tag.startswith("xagent-setup-")]
