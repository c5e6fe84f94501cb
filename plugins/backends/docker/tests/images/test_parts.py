"""How the parts of an image are put together, and what is noticed when one does not fit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from xagent_docker.images.parts import Parts
from xagent_docker.images.progress import Steps

from xagent_core import BackendError, Language, Packages

from .conftest import FILE, SOURCE

Make = Callable[[str, dict[str, str]], Path]


@pytest.fixture
async def parts(tmp_path: Path, root_of: Callable[..., None]) -> object:
    """Parts of a Debian that consists of awk."""
    root_of(
        ("usr/bin/awk", "elf", {"mode": 0o755}),
        ("var/lib/dpkg/status", "Package: mawk\nVersion: 1.3\n", FILE),
    )
    (tmp_path / "parts").mkdir()
    with Steps() as steps:
        async with Parts(tmp_path / "parts", SOURCE, steps) as parts:
            yield parts


def language(*executables: str, **packages: object) -> Language:
    return Language(
        name="awk",
        run=("awk", "-f", "{source}"),
        executables=executables,
        extensions=(".awk",),
        packages=Packages(**packages),  # type: ignore[arg-type]
    )


async def test_a_package_that_every_debian_has_adds_no_layer(parts: Parts) -> None:
    assembled = await parts.assemble(language("awk", apt=("mawk",)))
    assert [layer.origin for layer in assembled.layers] == ["the essential packages of Debian"]
    assert assembled.versions == {"mawk": "1.3"}


async def test_layers_that_languages_share_come_first(parts: Parts, wheels: Make) -> None:
    wheels("some-tool", {"bin/tool": "#!/bin/sh\n"})
    packages = {"pip": ("some-tool",), "programs": (("tool", "bin/tool"),)}
    small = await parts.assemble(language("tool", **packages))
    large = await parts.assemble(language("tool", apt=("ed",), **packages))
    assert [layer.digest for layer in small.layers[:2]] == [layer.digest for layer in large.layers[:2]]
    assert large.layers[2].origin == "Debian packages ed"


async def test_a_part_is_made_once_for_all_languages(parts: Parts, tmp_path: Path) -> None:
    first = await parts.assemble(language("awk", apt=("mawk",)))
    (tmp_path / "bin/mmdebstrap").unlink()
    assert (await parts.assemble(language("awk"))).layers == first.layers


async def test_a_program_that_has_moved_within_its_wheel_is_noticed(parts: Parts, wheels: Make) -> None:
    wheels("moved-tool", {"elsewhere/tool": "#!/bin/sh\n"})
    with pytest.raises(BackendError, match=r"should be bin/tool, which is in none of the wheels \(moved-tool 1.0\)"):
        await parts.assemble(language("tool", pip=("moved-tool",), programs=(("tool", "bin/tool"),)))


async def test_a_program_that_no_package_has_is_noticed(parts: Parts) -> None:
    with pytest.raises(BackendError, match="none of the packages of awk has its program no-such-program"):
        await parts.assemble(language("awk", "no-such-program", apt=("mawk",)))
