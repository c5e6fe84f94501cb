"""Images come from where the machine's own apt gets its packages, and from nowhere else that it knows."""

from __future__ import annotations

from pathlib import Path

import pytest
from xagent_docker.images.sources import DEFAULT_SUITE, machine_source, named_source


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """The root of a machine with Debian 12."""
    (tmp_path / "etc/apt/sources.list.d").mkdir(parents=True)
    (tmp_path / "etc/os-release").write_text('ID=debian\nVERSION_CODENAME="bookworm"\n')
    return tmp_path


def test_lines_of_the_release_are_taken_with_their_options(machine: Path) -> None:
    (machine / "etc/apt/sources.list").write_text(
        "# a comment\n"
        "deb [signed-by=/k.gpg] http://mirror.local/debian bookworm main contrib # the office's\n"
        "deb-src http://mirror.local/debian bookworm main\n"
        "deb http://mirror.local/security bookworm-security main\n"
        "deb http://mirror.local/debian trixie main\n"
    )
    source = machine_source(machine)
    assert source.suite == "bookworm"
    assert source.lines == (
        "deb [signed-by=/k.gpg] http://mirror.local/debian bookworm main contrib",
        "deb http://mirror.local/security bookworm-security main",
    )


def test_stanzas_are_taken_as_the_lines_they_stand_for(machine: Path) -> None:
    (machine / "etc/apt/sources.list.d/debian.sources").write_text(
        "Types: deb deb-src\n# why\nURIs: http://one http://two\nSuites: bookworm bookworm-updates\n"
        "Components: main universe\nSigned-By: /usr/share/keyrings/debian.gpg\n\n"
        "Types: deb\nURIs: http://off\nSuites: bookworm\nComponents: main\nEnabled: no\n"
    )
    key = "[signed-by=/usr/share/keyrings/debian.gpg]"
    assert machine_source(machine).lines == tuple(
        f"deb {key} http://{host} {suite} main universe"
        for host in ("one", "two")
        for suite in ("bookworm", "bookworm-updates")
    )


def test_repositories_of_others_have_no_place_in_an_image(machine: Path) -> None:
    (machine / "etc/apt/sources.list.d/others.list").write_text(
        "deb https://download.docker.com/linux/debian bookworm stable\n"
        "deb https://packages.example.com/apt cloud-sdk-bookworm main\n"
    )
    assert machine_source(machine).lines == ()


def test_a_machine_that_is_neither_debian_nor_ubuntu_gets_the_default_release(machine: Path) -> None:
    (machine / "etc/os-release").write_text("ID=fedora\nVERSION_CODENAME=\n")
    assert machine_source(machine).suite == DEFAULT_SUITE


@pytest.mark.parametrize(
    ("mirror", "lines"),
    [
        ("", ()),
        ("http://mirror.local/debian", ("deb http://mirror.local/debian trixie main",)),
        ("deb [trusted=yes] file:///mnt/dvd trixie main", ("deb [trusted=yes] file:///mnt/dvd trixie main",)),
    ],
)
def test_a_mirror_is_an_address_or_a_whole_line(mirror: str, lines: tuple[str, ...]) -> None:
    assert named_source("trixie", mirror).lines == lines
