"""A workspace of which no path leads out, with the kernel's own rule and with the walk that replaces it."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import itertools
import os
import socket
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xagent_core import InvalidRequestError, beneath
from xagent_core.workspace import Entry, Workspace

SECRET = b"the secret"


@pytest.fixture(params=["openat2", "walk"], autouse=True)
def way(request, monkeypatch):
    """Every test sees both ways to open what is beneath a folder."""
    if request.param == "openat2":
        root = os.open("/", os.O_PATH)
        try:
            os.close(beneath._openat2(root, "proc"))
        except OSError as error:
            pytest.skip(f"this kernel has no openat2: {error}")
        finally:
            os.close(root)
    else:
        monkeypatch.setattr(beneath, "_openat2", no_openat2)
    return request.param


def no_openat2(root, path):
    raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS), path)


@pytest.fixture
def outside(tmp_path):
    """What must neither be read nor change."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "secret").write_bytes(SECRET)
    yield folder
    assert [file.name for file in folder.iterdir()] == ["secret"]
    assert (folder / "secret").read_bytes() == SECRET


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path / "work", largest_file=1000)


def refused(workspace, path, why="workspace: "):
    """Nothing can be done by this path."""
    for call in (
        lambda: workspace.read(path),
        lambda: workspace.write(path, b"x"),
        lambda: workspace.append(path, b"x"),
        lambda: workspace.edit(path, lambda content: content + b"x"),
    ):
        with pytest.raises(InvalidRequestError, match=why):
            call()


def test_what_is_written_can_be_read_changed_listed_and_removed(workspace):
    workspace.write("a/b/c.txt", b"one")
    workspace.append("a/b/c.txt", b" two")
    workspace.edit("a/b/c.txt", bytes.upper)
    workspace.append("new.txt", b"three")
    assert workspace.read("./a//b/c.txt") == b"ONE TWO"
    with workspace.open("new.txt") as file:
        assert file.read(2) == b"th"
    assert workspace.entries().entries == (
        Entry(path="a", kind="folder"),
        Entry(path="a/b", kind="folder"),
        Entry(path="a/b/c.txt", kind="file", size=7),
        Entry(path="new.txt", kind="file", size=5),
    )
    workspace.remove("new.txt")
    with pytest.raises(InvalidRequestError, match=r"'new.txt': there is no such file"):
        workspace.read("new.txt")


def test_a_new_workspace_is_made_and_one_that_is_a_file_is_refused(tmp_path):
    assert Workspace(tmp_path / "a" / "b").path.is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(InvalidRequestError, match="cannot be used: "):
        Workspace(tmp_path / "file")


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("../outside/secret", "not inside"),
        ("a/../../outside/secret", "not inside"),
        ("a/..", "not inside"),
        ("..", "not inside"),
        ("/etc/passwd", "not inside"),
        ("//etc/passwd", "not inside"),
        ("", "not inside"),
        (".", "not inside"),
        ("/proc/self/fd/0", "not inside"),
        ("nul\0byte", "NUL"),
        ("../outside/secret\0.txt", "NUL"),
        ("two\nlines", "control character"),
        ("escape\x1b[2J", "control character"),
        ("\x85next", "control character"),
        ("a" * 256, "too long"),
        ("a/" * 2100 + "a", "too long"),
        ("\ud800", "cannot be encoded"),
    ],
)
def test_paths_that_are_refused_as_they_are_written(workspace, outside, path, why):
    refused(workspace, path, why)


@pytest.mark.parametrize(
    "path",
    [
        "\uff0e\uff0e/outside/secret",  # full-width full stops
        "\u2025/outside/secret",  # two dot leader
        "..\u2215outside\u2215secret",  # division slash
        "..\\outside\\secret",
        "%2e%2e/outside/secret",
        "..%2foutside%2fsecret",
        ".. /outside/secret",
        ".../outside/secret",
        "~/secret",
        "~root",
        "$HOME/secret",
        "file:outside",
        "C:\\outside",
        "\u202etxt.terces",
        "..\u0000a".replace("\u0000", "\u200b"),
        "Outside/Secret",
        "proc/self/fd/0",
        "dev/stdin",
    ],
)
def test_names_that_only_look_like_a_way_out_are_names_inside(workspace, outside, tmp_path, path):
    workspace.write(path, b"inside")
    assert workspace.read(path) == b"inside"
    assert (tmp_path / "work" / path).read_bytes() == b"inside"


def test_links_are_never_followed(workspace, outside):
    for name, target in {
        "absolute": outside,
        "relative": "../outside",
        "to-root": "/",
        "to-itself": "to-itself",
        "up": "..",
        "descriptors": "/proc/self/fd",
        "root-of-this-process": "/proc/self/root",
        "dangling": "nowhere",
        "inside": "folder",
    }.items():
        (workspace.path / name).symlink_to(target)
    workspace.write("folder/secret", b"inside")
    (workspace.path / "folder" / "link").symlink_to(outside / "secret")
    (workspace.path / "folder" / "zero").symlink_to("/dev/zero")
    refused(workspace, "folder/link", "symbolic link, which is not followed")
    refused(workspace, "folder/zero", "symbolic link, which is not followed")
    for name in ("absolute", "relative", "inside", "to-itself", "dangling", "up/outside", "to-root/etc", "folder/link"):
        refused(workspace, f"{name}/secret")
    for descriptor in range(10):
        refused(workspace, f"descriptors/{descriptor}", "symbolic link")
    refused(workspace, f"root-of-this-process{outside}/secret", "symbolic link")
    with pytest.raises(InvalidRequestError, match="symbolic link"):
        workspace.entries("absolute")
    listed = {entry.path: entry.kind for entry in workspace.entries().entries}
    assert listed["absolute"] == "link"
    assert "absolute/secret" not in listed


def test_an_empty_folder_can_be_removed_and_nothing_else(workspace, outside):
    (workspace.path / "a/empty").mkdir(parents=True)
    workspace.write("file", b"")
    (workspace.path / "link").symlink_to(outside)
    for path, reason in {"a": "something is in it", "file": "no folder", "link": "no folder", "b": "no such"}.items():
        with pytest.raises(InvalidRequestError, match=reason):
            workspace.remove_folder(path)
    workspace.remove_folder("a/empty")
    workspace.remove_folder("a")
    assert not (workspace.path / "a").exists()


def test_a_link_can_be_removed_without_what_it_leads_to(workspace, outside):
    (workspace.path / "link").symlink_to(outside / "secret")
    workspace.remove("link")
    assert workspace.entries().entries == ()


def test_a_hard_link_to_outside_is_neither_read_nor_changed(workspace, outside):
    os.link(outside / "secret", workspace.path / "hard")
    assert workspace.entries().entries == (Entry(path="hard", kind="file", size=len(SECRET), shared=True),)
    with pytest.raises(InvalidRequestError, match="further names"):
        workspace.read("hard")
    with pytest.raises(InvalidRequestError, match="further names"):
        workspace.append("hard", b"x")
    with pytest.raises(InvalidRequestError, match="further names"):
        workspace.edit("hard", bytes.upper)
    workspace.write("hard", b"a file of its own")  # takes the name's place; `outside` sees that nothing changed there
    assert workspace.read("hard") == b"a file of its own"


def make_device(path):
    try:
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("only root can make a device")


def make_socket(path):
    here = os.open(".", os.O_RDONLY)
    os.chdir(path.parent)  # a socket's path is short
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path.name)
    finally:
        os.chdir(here)
        os.close(here)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("make", [os.mkfifo, make_socket, make_device])
def test_devices_pipes_and_sockets_are_refused_and_nothing_waits_for_them(workspace, make):
    make(workspace.path / "special")
    refused(workspace, "special", "it is a device, a named pipe or a socket")
    assert workspace.entries().entries == (Entry(path="special", kind="other"),)


@pytest.mark.timeout(20)
def test_a_pipe_that_takes_a_files_place_after_the_look_at_it_does_not_hang(workspace, monkeypatch):
    os.mkfifo(workspace.path / "pipe")
    workspace.write("file", b"")
    real, regular = os.stat, (workspace.path / "file").stat()

    def too_early(path, **options):
        return regular if path == "pipe" else real(path, **options)

    monkeypatch.setattr(os, "stat", too_early)
    with pytest.raises(InvalidRequestError, match="named pipe"):
        workspace.read("pipe")
    with pytest.raises(InvalidRequestError, match="No such device"):  # nobody reads the pipe
        workspace.append("pipe", b"x")


def test_a_folder_is_no_file(workspace):
    workspace.write("folder/file", b"")
    refused(workspace, "folder", "it is a folder")
    refused(workspace, "folder/file/inner", "no folder")
    with pytest.raises(InvalidRequestError, match="folder"):
        workspace.remove("folder")
    with pytest.raises(InvalidRequestError, match="no folder"):
        workspace.entries("folder/file")


@contextlib.contextmanager
def swapping(one, other, *, rounds, both):
    """Two names take each other's place all the time, without a moment in which one is missing.

    Yields the numbers of rounds to try: some, and as many more as it takes until `both` says that both were met.
    """
    done = threading.Event()
    renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE

    def swap():
        while not done.is_set():
            assert renameat2(here, os.fsencode(one), here, os.fsencode(other), exchange) == 0, ctypes.get_errno()

    with ThreadPoolExecutor(1) as pool:
        swaps = pool.submit(swap)
        try:
            yield itertools.takewhile(lambda number: number < rounds or not both(), range(100 * rounds))
        finally:
            done.set()
            swaps.result()


@pytest.mark.parametrize("path", ["place/secret", "place/deeper/secret"])
def test_links_that_are_swapped_in_during_the_call_lead_nowhere(workspace, outside, path):
    (outside / "deeper").symlink_to(".")
    (workspace.path / "link").symlink_to(outside)
    workspace.write(path, b"inside")
    seen, failed = set(), 0
    names = workspace.path / "place", workspace.path / "link"
    with swapping(*names, rounds=300, both=lambda: seen and failed) as numbers:
        for number in numbers:
            for call in (
                lambda: seen.add(workspace.read(path)),
                lambda number=number: workspace.write(path, b"inside %d" % number),
                lambda: workspace.append(path, b"+"),
                lambda: workspace.entries("place"),
            ):
                try:
                    call()
                except InvalidRequestError:
                    failed += 1
    (outside / "deeper").unlink()
    assert all(content.startswith(b"inside") for content in seen)
    assert seen, "the folder was never seen"
    assert failed, "the link was never seen"


def test_a_file_that_becomes_a_link_during_the_call_is_not_followed(workspace, outside):
    (workspace.path / "link").symlink_to(outside / "secret")
    workspace.write("target", b"inside")
    seen, failed = set(), 0
    names = workspace.path / "target", workspace.path / "link"
    with swapping(*names, rounds=1000, both=lambda: seen and failed) as numbers:
        for _ in numbers:
            try:
                seen.add(workspace.read("target"))
                workspace.append("target", b"+")
            except InvalidRequestError:
                failed += 1
    assert seen
    assert failed
    assert all(content.startswith(b"inside") for content in seen)


def test_a_size_limit_holds_for_writing_appending_and_editing(workspace):
    workspace.write("file", bytes(1000))
    with pytest.raises(InvalidRequestError, match="would have 1001 bytes, and 1000 are allowed"):
        workspace.write("file", bytes(1001))
    with pytest.raises(InvalidRequestError, match="would have 1001 bytes"):
        workspace.append("file", b"x")
    with pytest.raises(InvalidRequestError, match="would have 1001 bytes"):
        workspace.edit("file", lambda content: content + b"x")
    assert workspace.read("file") == bytes(1000)


def test_a_file_that_is_too_large_is_not_read_whole(workspace):
    with (workspace.path / "huge").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(InvalidRequestError, match="larger than 1000 bytes"):
        workspace.read("huge")


def test_writing_replaces_at_once_keeps_the_mode_and_leaves_nothing_when_it_fails(workspace, monkeypatch):
    workspace.write("script", b"old")
    (workspace.path / "script").chmod(0o750)
    with workspace.open("script") as reader:
        workspace.write("script", b"new")
        assert reader.read() == b"old"
    assert stat.S_IMODE((workspace.path / "script").stat().st_mode) == 0o750

    def full(*_args, **_options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(InvalidRequestError, match="the disk is full"):
        workspace.write("script", b"newer")
    assert [file.name for file in workspace.path.iterdir()] == ["script"]
    assert workspace.read("script") == b"new"


def test_edits_at_once_do_not_lose_each_other(workspace):
    workspace.write("count", b"0")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: workspace.edit("count", lambda text: b"%d" % (int(text) + 1)), range(100)))
    assert workspace.read("count") == b"100"


def test_a_listing_is_bounded_in_number_and_depth_and_says_so(workspace):
    for number in range(20):
        workspace.write(f"{number % 4}/{number}", b"")
    whole = workspace.entries()
    assert (len(whole.entries), whole.complete) == (24, True)
    top = workspace.entries(depth=1)
    assert ([entry.path for entry in top.entries], top.complete) == (["0", "1", "2", "3"], True)
    some = workspace.entries(most=7)
    assert ([entry.path for entry in some.entries], some.complete) == (
        [entry.path for entry in whole.entries[:7]],
        False,
    )
    flat = workspace.entries("1", most=3)
    assert (len(flat.entries), flat.complete) == (3, False)
    odd = workspace.entries(wanted=lambda entry: entry.path not in ("0", "2"))
    assert {entry.path.split("/")[0] for entry in odd.entries} == {"1", "3"}


def test_very_deep_folders_do_not_exhaust_anything(workspace):
    workspace.write("/".join("a" * 300), b"")
    listing = workspace.entries()
    assert (len(listing.entries), listing.complete) == (40, False)
    assert workspace.read("/".join("a" * 300)) == b""


def open_descriptors():
    return {file.name: file.readlink() for file in Path("/proc/self/fd").iterdir() if file.is_symlink()}


def test_no_descriptor_is_left_open(workspace, outside):
    workspace.write("a/b", b"x")
    (workspace.path / "link").symlink_to(outside)
    before = open_descriptors()
    for path in ("a/b", "a", "nothing", "link/secret", "a/b/c"):
        for call in (workspace.read, workspace.entries, lambda path: workspace.append(path, b"")):
            try:
                call(path)
            except InvalidRequestError:
                continue
    assert open_descriptors() == before


TRAPS = ("link", "up", "root", "loop", "inside", "hard", "pipe")
PARTS = st.sampled_from([*TRAPS, *".. . folder secret outside proc self fd etc passwd FOLDER a ~ %2e%2e ..\\".split()])
PARTS |= st.sampled_from(["", " ", "\uff0e\uff0e", "\n", "\0", "..\0", "\u212a", "\udcff"]) | st.text(max_size=4)
PATHS = st.builds(
    lambda start, parts, end: start + "/".join(parts) + end,
    st.sampled_from(["", "/", "//", "./", "../"]),
    st.lists(PARTS, max_size=6),
    st.sampled_from(["", "/", "/.", "/.."]),
)


def snapshot(folder):
    return sorted((str(path), path.read_bytes() if path.is_file() else b"") for path in folder.rglob("*"))


@pytest.mark.timeout(120)
def test_no_path_that_can_be_made_up_leads_out(tmp_path_factory, way):
    base = tmp_path_factory.mktemp("fuzz")
    outside = base / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(SECRET)
    workspace = Workspace(base / "work")
    work = workspace.path
    workspace.write("folder/file", b"inside")
    for name, target in {"link": outside, "up": "..", "root": "/", "loop": "loop", "inside": "folder"}.items():
        (work / name).symlink_to(target)
        (work / "folder" / name).symlink_to(target)
    os.link(outside / "secret", work / "hard")
    os.mkfifo(work / "pipe")
    before = snapshot(outside)

    def removed(path):
        if not set(TRAPS).intersection(path.split("/")):  # they stay for the next path
            workspace.remove(path)

    @settings(max_examples=150)
    @given(path=PATHS)
    def attack(path):
        if not (work / "hard").samefile(outside / "secret"):
            (work / "hard").unlink()
            os.link(outside / "secret", work / "hard")
        answers = []
        for call in (
            lambda: workspace.read(path),
            lambda: [entry.path for entry in workspace.entries(path).entries],
            lambda: workspace.append(path, b"+"),
            lambda: workspace.write(path, b"written"),
            lambda: workspace.read(path),
            lambda: removed(path),
        ):
            with contextlib.suppress(InvalidRequestError):
                answers.append(call())
        assert SECRET not in answers
        assert not [answer for answer in answers if isinstance(answer, list) and f"{path}/secret" in answer]
        assert snapshot(outside) == before
        assert sorted(file.name for file in base.iterdir()) == ["outside", "work"]

    attack()
