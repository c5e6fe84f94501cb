"""Which files a pattern brings back."""

from __future__ import annotations

import subprocess
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xagent_core.guest.patterns import find_pattern, matches


@pytest.mark.parametrize(
    ("pattern", "path", "wanted"),
    [
        ("a.txt", "a.txt", True),
        ("a.txt", "b/a.txt", False),
        ("*.txt", "a.txt", True),
        ("*.txt", ".hidden.txt", True),
        ("*.txt", "b/a.txt", False),
        ("*", "two\nlines", True),
        ("?", "a", True),
        ("?", "ab", False),
        ("out/*", "out/a", True),
        ("out/*", "out/a/b", False),
        ("out/**", "out/a/b", True),
        ("out/**", "out", False),
        ("**", "a/b/c", True),
        ("**/c", "c", True),
        ("**/c", "a/b/c", True),
        ("**/c", "a/b/xc", False),
        ("a/**/c", "a/c", True),
        ("a/**/c", "a/b/b/c", True),
        ("a/**/**/c", "a/c", True),
        ("[ab].txt", "b.txt", True),
        ("[!ab].txt", "b.txt", False),
        ("[z-a].txt", "b.txt", False),
        ("a[1", "a[1", True),
        ("a\\b", "a\\b", True),
        ("a+(b|c).$", "a+(b|c).$", True),
    ],
)
def test_what_a_pattern_means(pattern, path, wanted):
    assert matches(path, [pattern]) is wanted


def test_one_of_several_patterns_is_enough_and_none_matches_nothing():
    assert matches("b", ["a", "b"])
    assert not matches("b", [])


def test_no_pattern_and_no_path_takes_long():
    started = time.process_time()
    assert not matches("/".join("a" * 1000), ["/".join(["**", "a"] * 20) + "/b"])
    assert not matches("a" * 255, ["*a" * 60 + "b"])
    assert time.process_time() - started < 2


parts = st.text(st.sampled_from("ab*?[]!-\\."), min_size=1, max_size=4).filter(lambda part: part not in {".", ".."})


@given(
    st.lists(parts | st.just("**"), min_size=1, max_size=3).map("/".join),
    st.lists(st.text("ab[]!-\\.", min_size=1, max_size=3), min_size=1, max_size=3)
    .map("/".join)
    .filter(lambda path: not {".", ".."} & set(path.split("/"))),
)
def test_find_is_asked_for_no_less_than_what_matches(pattern, path):
    if matches(path, [pattern]):
        # `case` has find's own rules: its `*` matches slashes too.
        script = 'case "$1" in ' + shell_pattern(find_pattern(pattern)) + ") exit 0;; esac; exit 1"
        subprocess.run(["sh", "-c", script, "sh", f"./{path}"], check=True)


def shell_pattern(pattern: str) -> str:
    """Quotes what `case` would not take as a pattern."""
    return "".join(char if char in "*?" else f"'{char}'" for char in pattern)
