"""What `read_file` says of texts, of what is no text, and of files of any size."""

from __future__ import annotations

import io
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from xagent_tools_files.text import encoding_of, read_lines


def test_a_text_comes_with_what_is_known_of_it(tools, workspace):
    workspace.write("notes/a.txt", "eins\nzwei\ndr\u00e9i\n".encode())
    assert tools.read_file.invoke({"path": "notes/a.txt"}) == {
        "status": "success",
        "path": "notes/a.txt",
        "content": "eins\nzwei\ndr\u00e9i\n",
        "size": 16,
        "line_count": 3,
        "encoding": "utf-8",
    }


async def test_lines_are_picked_by_offset_and_number(tools, workspace):
    workspace.write("a.txt", b"".join(b"line %d\n" % number for number in range(1, 101)))
    answer = await tools.read_file.ainvoke({"path": "a.txt", "offset": 10, "max_lines": 2})
    assert answer["content"] == "line 11\nline 12\n"
    assert (answer["line_count"], answer["next_offset"]) == (100, 12)
    assert answer["notice"] == "These are lines 11 to 12; there are more."
    last = await tools.read_file.ainvoke({"path": "a.txt", "offset": 99})
    assert last["content"] == "line 100\n"
    assert "next_offset" not in last
    assert "notice" not in last


def test_an_offset_behind_the_end_is_an_error_that_says_how_long_the_file_is(tools, workspace, error_of):
    workspace.write("a.txt", b"one\ntwo")
    assert "has 2 lines, so there are none behind offset 2" in error_of(tools.read_file, path="a.txt", offset=2)


def test_an_empty_file(tools, workspace):
    workspace.write("empty", b"")
    answer = tools.read_file.invoke("empty")
    assert (answer["status"], answer["content"], answer["line_count"]) == ("success", "", 0)


@pytest.mark.parametrize(
    ("text", "encoding", "reported"),
    [
        ("plain", "ascii", "utf-8"),
        ("na\u00efve \u4f60\u597d \U0001f600\n" * 3, "utf-8", "utf-8"),
        ("with a mark\n", "utf-8-sig", "utf-8"),
        ("sechzehn \u00fc\n", "utf-16", "utf-16-le"),
        ("\ufeffgro\u00df\n", "utf-16-be", "utf-16-be"),
        ("zweiunddrei\u00dfig\n", "utf-32", "utf-32-le"),
    ],
)
def test_encodings_of_unicode(tools, workspace, text, encoding, reported):
    workspace.write("a.txt", text.encode(encoding))
    answer = tools.read_file.invoke({"path": "a.txt"})
    assert (answer["content"], answer["encoding"]) == (text.removeprefix("\ufeff"), reported)


FRENCH = """Où est passé le café que j'avais acheté à Noël ? Il était très bon, préparé par une société française.
Le garçon a répondu qu'il n'en savait rien, mais que sa tante, elle, l'avait sûrement bu.
"""
RUSSIAN = """Все счастливые семьи похожи друг на друга, каждая несчастливая семья несчастлива по-своему.
Всё смешалось в доме Облонских. Жена узнала, что муж был в связи с бывшею в их доме француженкою.
"""  # noqa: RUF001 - it is Russian
JAPANESE = "日本語のテキストです。今日は天気がいいですね。\n"


@pytest.mark.parametrize(
    ("text", "encoding"),
    [(FRENCH, "latin-1"), (RUSSIAN, "cp1251"), (JAPANESE, "shift-jis")],
    ids=["latin-1", "cp1251", "shift-jis"],
)
def test_encodings_from_before_unicode_are_guessed(tools, workspace, text, encoding):
    text *= 8
    workspace.write("a.txt", text.encode(encoding))
    answer = tools.read_file.invoke({"path": "a.txt"})
    assert answer["content"] == text
    assert answer["notice"] == f"The encoding is a guess: the file is not UTF-8, and likely {answer['encoding']}."


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("\u00e0 la carte \u00e9\n", "cp1252"),
        ("caf\u00e9", "cp1252"),
        ("name;city\nM\u00fcller;K\u00f6ln\n", "cp1252"),
        ("He said \u201chello\u201d \u2013 and left\u2026\n", "cp1252"),
        ("caf\u00e9 \x81 na\u00efve\n", "latin-1"),
    ],
)
def test_a_short_text_that_is_not_utf_8_is_taken_for_one_of_western_europe(tools, workspace, text, encoding):
    workspace.write("a.txt", text.encode(encoding))
    answer = tools.read_file.invoke({"path": "a.txt"})
    assert (answer["content"], answer["encoding"]) == (text, encoding)
    assert "The encoding is a guess" in answer["notice"]


@pytest.mark.parametrize(
    "content",
    [b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", b"\x7fELF" + bytes(100), bytes(range(256)) * 4, b"\x01\x02\x03\x04" * 50],
)
def test_what_is_no_text_gets_a_clear_answer(tools, workspace, content):
    workspace.write("plot.png", content)
    answer = tools.read_file.invoke({"path": "plot.png"})
    assert (answer["status"], answer["content"], answer["size"]) == ("binary", "", len(content))
    assert "binary file (image/png" in answer["notice"]


def test_a_large_text_comes_in_parts_that_fit_together(tools, workspace):
    text = "".join(f"{number} {'x' * (number % 200)}\n" for number in range(3000))
    workspace.write("large.txt", text.encode())
    parts, offset = [], 0
    while offset is not None:
        answer = tools.read_file.invoke({"path": "large.txt", "offset": offset})
        assert len(answer["content"]) <= 50_000
        assert answer["line_count"] == 3000
        parts.append(answer["content"])
        offset = answer.get("next_offset")
    assert "".join(parts) == text
    assert len(parts) > 5


def test_a_line_that_is_too_long_is_cut_and_the_next_one_can_be_read(tools, workspace):
    workspace.write("wide.txt", b"a" * 200_000 + b"\nshort\n")
    answer = tools.read_file.invoke({"path": "wide.txt"})
    assert answer["content"] == "a" * 50_000
    assert "Line 1 is longer than 50000 characters, and cut." in answer["notice"]
    assert tools.read_file.invoke({"path": "wide.txt", "offset": answer["next_offset"]})["content"] == "short\n"


def test_a_file_of_one_line_that_is_too_long_says_how_to_read_the_rest(tools, workspace):
    workspace.write("data.json", b"[" + b"1," * 60_000 + b"1]")
    answer = tools.read_file.invoke({"path": "data.json"})
    assert (len(answer["content"]), answer["line_count"]) == (50_000, 1)
    assert "next_offset" not in answer
    assert "Line 1 is longer" in answer["notice"]
    assert "Read the rest of it with a program in the sandbox" in answer["notice"]


def test_a_huge_file_is_not_read_whole_and_the_answer_says_so(tools, workspace, error_of):
    with (workspace.path / "huge.txt").open("wb") as file:
        file.write(b"first\nsecond\n")
        file.seek(20 * 1024**3)
        file.write(b"\n")
    answer = tools.read_file.invoke({"path": "huge.txt", "max_lines": 1})
    assert (answer["status"], answer["size"]) == ("binary", 20 * 1024**3 + 1)  # what was not written reads as NUL

    os.truncate(workspace.path / "huge.txt", 0)
    with (workspace.path / "huge.txt").open("r+b") as file:
        file.write(b"some line of text\n" * 1000)
        file.truncate(20 * 1024**3)
    answer = tools.read_file.invoke({"path": "huge.txt", "max_lines": 2})
    assert answer["content"] == "some line of text\n" * 2
    assert (answer["line_count"], answer["next_offset"]) == (None, 2)
    assert "The file is huge (21474836480 bytes)" in answer["notice"]
    assert "as far as read_file looks" in error_of(tools.read_file, path="huge.txt", offset=5_000_000)


@pytest.mark.slow
def test_the_memory_that_reading_takes_does_not_grow_with_the_file(workspace):
    with (workspace.path / "long.txt").open("wb") as file:
        for _ in range(60):
            file.write(b"x" * (1 << 20))
    program = """
import sys, resource
from xagent_core import Workspace
from xagent_tools_files.read import ReadFile
tool = ReadFile(workspace=Workspace(sys.argv[1]))
tool.invoke({"path": "warm-up.txt"})
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
answer = tool.invoke({"path": "long.txt"})
assert answer["line_count"] == 1, answer
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    workspace.write("warm-up.txt", b"text\n" * 10_000)
    done = subprocess.run(
        [sys.executable, "-c", program, str(workspace.path)], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 10 * 1024, "KiB, for a file of 60 MiB"


LINES = st.lists(st.text(st.sampled_from("ab\u00e9\r\u2028 "), max_size=12), max_size=12)


@given(lines=LINES, end=st.booleans(), offset=st.integers(0, 14), most=st.integers(1, 14))
def test_lines_are_those_of_the_file(lines, end, offset, most):
    text = "\n".join(lines) + ("\n" if end and lines else "")
    real = text.split("\n")
    real = [f"{line}\n" for line in real[:-1]] + ([real[-1]] if real[-1] else [])
    excerpt = read_lines(
        io.BytesIO(text.encode()), "utf-8", offset=offset, most_lines=most, most_characters=1000, most_bytes=10_000
    )
    assert excerpt.content == "".join(real[offset : offset + most])
    assert excerpt.line_count == len(real)
    assert excerpt.more is (offset + excerpt.lines < len(real))


@given(sample=st.binary(max_size=200))
def test_any_bytes_have_an_encoding_or_none(sample):
    name = encoding_of(sample)
    assert name is None or isinstance(sample.decode(name, "replace"), str)
