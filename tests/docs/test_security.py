"""Each claim of docs/security.md leads to a test that exists."""

import re
from pathlib import Path

import pytest

from tests.backends import BACKENDS
from tests.security.hostile import hostile_programs

FILE = Path(__file__).parents[2] / "docs/security.md"
TEXT = FILE.read_text("utf-8")
LINKS = re.findall(r"\[([^\]]+)\]\((?!https?:)([^)]+)\)", TEXT)


@pytest.mark.parametrize(("words", "target"), LINKS, ids=lambda part: part.rpartition("/")[2])
def test_a_link_leads_to_a_test_of_that_name(words, target):
    path, _, anchor = target.partition("#")
    aim = FILE.parent.joinpath(path) if path else FILE
    assert aim.exists()
    if anchor:
        headings = re.findall(r"^##+ (.+)$", aim.read_text("utf-8"), re.MULTILINE)
        assert anchor in {re.sub(r"[^\w-]", "", heading.lower().replace(" ", "-")) for heading in headings}
    if aim.suffix == ".py":
        assert re.search(rf"^ *(async )?def {words.strip('`')}\(", aim.read_text("utf-8"), re.MULTILINE)


def test_every_row_has_its_test():
    rows = [line for line in TEXT.splitlines() if line.startswith("| ") and "shown by" not in line]
    assert len(rows) > 20
    assert [row for row in rows if "../" not in row and not row.endswith("| the same |")] == []


def test_every_backend_and_the_number_of_programs_are_right():
    assert all(name in TEXT.lower() for name in BACKENDS)
    assert f"{len(hostile_programs())} programs" in TEXT
