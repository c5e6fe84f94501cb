"""Archives are read in any pieces, and one that a program made up does no harm."""

from __future__ import annotations

import io
import random
import tarfile
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xagent_core import OutputFile
from xagent_core.guest.archive import ArchiveReader


def archive(*members: tuple[tarfile.TarInfo, bytes], layout: int = tarfile.GNU_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=layout) as tar:
        for info, content in members:
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def member(name: str, content: bytes = b"", **fields) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for field, value in fields.items():
        setattr(info, field, value)
    return info, content


def anything(path: str) -> bool:
    return True


def read(data: bytes, *, room: int = 10**6, piece: int = 65536, wanted=anything) -> ArchiveReader:
    reader = ArchiveReader(wanted, room)
    for start in range(0, len(data), piece):
        reader.feed(data[start : start + piece])
    return reader


names = st.text(st.characters(codec="utf-8", exclude_characters="\0/"), min_size=1, max_size=150).filter(
    lambda name: name not in {".", ".."} and len(name.encode()) < 255
)


@given(
    st.dictionaries(names, st.binary(max_size=1500), max_size=5),
    st.integers(1, 3000),
    st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
)
def test_files_come_out_as_they_went_in(files, piece, layout):
    data = archive(*(member(f"./{name}", content) for name, content in files.items()), layout=layout)
    reader = read(data, piece=piece)
    assert {file.path: file.content for file in reader.files} == files
    assert reader.complete


def test_archives_may_follow_each_other():
    data = archive(member("./a", b"1")) + archive(member("./b", b"2"))
    assert read(data, piece=7).files == (OutputFile("a", b"1"), OutputFile("b", b"2"))


def test_long_and_deep_names():
    deep = "/".join(["folder" * 10] * 30) + "/file"
    for layout in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        assert read(archive(member(deep, b"x"), member("b", b"y"), layout=layout)).files == (
            OutputFile(deep, b"x"),
            OutputFile("b", b"y"),
        )
    prefixed = "p" * 120 + "/" + "n" * 90
    assert read(archive(member(prefixed, b"x"), layout=tarfile.USTAR_FORMAT)).files == (OutputFile(prefixed, b"x"),)


def test_only_what_is_wanted_takes_room():
    data = archive(member("big", b"x" * 5000), member("small", b"y" * 10))
    reader = read(data, room=10, wanted=lambda path: path == "small")
    assert reader.files == (OutputFile("small", b"y" * 10),)
    assert reader.complete


def test_what_does_not_fit_is_left_out_and_said():
    reader = read(archive(member("a", b"x" * 60), member("b", b"y" * 60), member("c", b"z" * 40)), room=100)
    assert [file.path for file in reader.files] == ["a", "c"]
    assert not reader.complete


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE])
def test_what_is_no_regular_file_is_passed_over(kind):
    reader = read(archive(member("strange", type=kind, linkname="/etc/passwd"), member("after", b"x")))
    assert reader.files == (OutputFile("after", b"x"),)
    assert reader.complete


def test_a_second_name_of_a_file_has_its_content():
    reader = read(archive(member("a", b"x"), member("b", type=tarfile.LNKTYPE, linkname="a")))
    assert reader.files == (OutputFile("a", b"x"), OutputFile("b", b"x"))


def test_a_second_name_whose_first_was_not_wanted_is_missing():
    data = archive(member("a", b"x"), member("b", type=tarfile.LNKTYPE, linkname="a"))
    reader = read(data, wanted=lambda path: path == "b")
    assert reader.files == ()
    assert not reader.complete


def with_size(field: bytes) -> bytes:
    """An archive of one member that claims another size."""
    header = bytearray(archive(member("a", b"x"), member("b", b"y")))
    header[124:136] = field.ljust(12, b"\0")
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header[:512])
    return bytes(header)


@pytest.mark.parametrize(
    "size", [b"\xff" * 12, b"\x80" + b"\0" * 10 + b"\1", b"-1000", b"77777777777", b"9", b"1_0", b"hello"]
)
def test_a_size_that_makes_no_sense_gives_nothing_and_takes_no_time(size):
    started = time.process_time()
    reader = read(with_size(size))
    assert time.process_time() - started < 1
    assert OutputFile("a", b"x") not in reader.files
    assert not reader.complete


def test_garbage_is_noticed_and_read_no_further():
    good = archive(member("a", b"x"))
    reader = read(good + b"garbage" * 200 + archive(member("b", b"y")))
    assert reader.files == (OutputFile("a", b"x"),)
    assert not reader.complete


def test_a_member_that_is_cut_short_is_not_there():
    data = archive(member("a", b"x" * 2000))[:1500]
    assert read(data).files == ()
    assert not read(data).complete


def test_two_members_of_one_name_are_one_file():
    assert read(archive(member("a", b"old"), member("a", b"new"))).files == (OutputFile("a", b"new"),)


@pytest.mark.parametrize("size", [-1, 0, 2**70])
def test_a_pax_record_of_a_strange_length_ends_the_reading(size):
    body = f"{size} path=x\n".encode()
    reader = read(archive(member("h", body, type=tarfile.XHDTYPE), member("b", b"y")))
    assert reader.files == ()
    assert not reader.complete


@given(st.binary(max_size=3000), st.integers(1, 700))
def test_no_bytes_raise(data, piece):
    read(data, piece=piece)


@given(st.integers(0, 1535), st.integers(0, 255))
def test_no_damage_raises(place, value):
    data = bytearray(archive(member("./" + "long" * 60, b"x"), member("b", b"y")))
    data[place] = value
    read(bytes(data), piece=100)


def test_many_tiny_members_take_little_time():
    data = archive(*(member(f"f{n}", b"x") for n in range(5000)))
    started = time.process_time()
    assert len(read(data).files) == 5000
    assert time.process_time() - started < 2


def test_random_bytes_of_a_valid_length():
    assert not read(random.Random(1).randbytes(5120)).complete
