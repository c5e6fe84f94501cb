"""Marks are found however a stream is cut in pieces, and nothing else is touched."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from xagent_core.guest.scanner import Mark, Scanner

BOUNDARY = "\x1exagent-0123456789abcdef"
START = BOUNDARY.encode()

# Output that likes to look like a mark.
noise = st.lists(
    st.one_of(
        st.binary(max_size=20),
        st.integers(1, len(START) - 1).map(lambda n: START[:n]),
        st.sampled_from([b"\n", b"\x1e", b" run 0 - - -\n", START.upper()]),
    )
).map(b"".join).filter(lambda data: START not in data)  # fmt: skip
marks = st.builds(
    lambda phase, code, counts: (f"{BOUNDARY} {phase} {code} {' '.join(counts)}\n".encode(), phase, code),
    st.sampled_from(["build", "run", "full", "files", "ready", "start"]),
    st.integers(0, 255),
    st.lists(st.just("-") | st.integers(0, 2**63).map(str), min_size=3, max_size=3),
)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """The data in pieces that end at the places."""
    edges = [0, *sorted({place % (len(data) + 1) for place in places}), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges)]


def scan(pieces: list[bytes]) -> tuple[bytes, list[Mark]]:
    """All output and all marks."""
    scanner, output, found = Scanner(BOUNDARY), b"", []
    for piece in pieces:
        for part in scanner.feed(piece):
            if isinstance(part, Mark):
                found.append(part)
            else:
                output += part
    return output + scanner.rest(), found


@given(noise, marks, noise, st.lists(st.integers(0, 10_000)))
def test_a_mark_is_found_however_the_stream_is_cut(before, mark, after, places):
    text, phase, code = mark
    output, found = scan(cut(before + text + after, places))
    assert output == before + after
    assert [(m.phase, m.code) for m in found] == [(phase, code)]


@given(noise, st.lists(st.integers(0, 10_000)))
def test_output_without_a_mark_is_what_it_was(data, places):
    assert scan(cut(data, places)) == (data, [])


@given(noise)
def test_no_more_is_held_back_than_could_begin_a_mark(data):
    scanner = Scanner(BOUNDARY)
    given_out = b"".join(part for part in scanner.feed(data) if isinstance(part, bytes))
    held = data[len(given_out) :]
    assert START.startswith(held)
    assert len(held) < len(START)


def test_what_was_held_back_comes_with_what_follows():
    scanner = Scanner(BOUNDARY)
    assert list(scanner.feed(b"a" + START[:5])) == [b"a"]
    assert list(scanner.feed(b"b")) == [START[:5] + b"b"]
    assert scanner.rest() == b""


def test_a_mark_tells_what_the_kernel_counted():
    (mark,) = Scanner(BOUNDARY).feed(START + b" run 137 2 1048576 1500000000\n")
    assert mark == Mark("run", 137, oom_kills=2, peak_memory=1048576, cpu_time=1.5)


@given(st.binary(max_size=300).filter(lambda data: b"\n" not in data and START not in data))
def test_nonsense_behind_a_boundary_is_output(nonsense):
    line = START + b" no mark " + nonsense + b"\n"
    assert scan([line]) == (line, [])


def test_a_boundary_without_an_end_is_not_held_back_for_ever():
    output, found = scan([START, *[b"x" * 1000] * 70])
    assert output == START + b"x" * 70_000
    assert found == []
    scanner = Scanner(BOUNDARY)
    early = b"".join(part for piece in [START, *[b"x" * 1000] * 70] for part in scanner.feed(piece))  # type: ignore[misc]
    assert len(early) > 60_000


@given(st.lists(marks, min_size=2, max_size=5), st.lists(st.integers(0, 10_000)))
def test_marks_in_a_row_are_all_found(several, places):
    output, found = scan(cut(b"".join(text for text, _, _ in several), places))
    assert output == b""
    assert [m.code for m in found] == [code for _, _, code in several]
