"""Collected files: made by a program that nobody trusts, written by a user who owns more than the output folder."""

from __future__ import annotations

import os

import pytest

from xagent_core.cli.save import save_files
from xagent_core.errors import XAgentError
from xagent_core.types import OutputFile


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "precious").write_text("precious")
    (tmp_path / "results").mkdir()
    return tmp_path / "results"


def tree(path):
    return {str(p.relative_to(path)): p.read_text() for p in path.rglob("*") if p.is_file() and not p.is_symlink()}


def test_folders_are_made_and_files_replaced(folder):
    (folder / "a").write_text("old")
    save_files([OutputFile("a", b"new"), OutputFile("b/c/d", b"deep")], folder)
    assert tree(folder) == {"a": "new", "b/c/d": "deep"}


def test_the_folder_itself_is_made(tmp_path):
    save_files([OutputFile("a", b"1")], tmp_path / "x" / "y")
    assert tree(tmp_path) == {"x/y/a": "1"}


@pytest.mark.parametrize(
    "path", ["../outside/precious", "/etc/xagent-was-here", "a/../../outside/precious", ".", "", "a\0b"]
)
def test_a_path_that_leaves_the_folder_is_refused(folder, path):
    with pytest.raises(XAgentError, match="not written"):
        save_files([OutputFile(path, b"evil"), OutputFile("good", b"good")], folder)
    assert tree(folder.parent) == {"outside/precious": "precious", "results/good": "good"}


def test_a_link_to_a_folder_is_not_followed(folder):
    (folder / "link").symlink_to(folder.parent / "outside")
    with pytest.raises(XAgentError, match="link/precious"):
        save_files([OutputFile("link/precious", b"evil")], folder)
    assert tree(folder.parent) == {"outside/precious": "precious"}


def test_a_link_to_a_file_is_replaced_and_not_written_through(folder):
    (folder / "link").symlink_to(folder.parent / "outside" / "precious")
    save_files([OutputFile("link", b"new")], folder)
    assert tree(folder.parent) == {"outside/precious": "precious", "results/link": "new"}


def test_a_dangling_link_is_not_written_through(folder):
    (folder / "link").symlink_to(folder.parent / "outside" / "new")
    save_files([OutputFile("link", b"new")], folder)
    assert not (folder.parent / "outside" / "new").exists()


def test_a_hard_link_is_not_written_through(folder):
    (folder / "link").hardlink_to(folder.parent / "outside" / "precious")
    save_files([OutputFile("link", b"new")], folder)
    assert tree(folder.parent) == {"outside/precious": "precious", "results/link": "new"}


def test_a_folder_in_the_place_of_a_file_stays_and_is_named(folder):
    (folder / "a" / "b").mkdir(parents=True)
    with pytest.raises(XAgentError, match="'a': Is a directory"):
        save_files([OutputFile("a", b"x")], folder)
    assert [path.name for path in folder.iterdir()] == ["a"]  # no temporary file either


def test_a_file_in_the_place_of_the_output_folder_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(XAgentError, match="cannot be used"):
        save_files([], tmp_path / "file")


def test_files_are_not_executable_and_follow_the_umask(folder):
    before = os.umask(0o027)
    try:
        save_files([OutputFile("a", b"")], folder)
    finally:
        os.umask(before)
    assert (folder / "a").stat().st_mode & 0o777 == 0o640


def test_a_name_that_is_not_utf8_is_kept(folder):
    name = os.fsdecode(b"\xff")
    save_files([OutputFile(name, b"x")], folder)
    assert tree(folder) == {name: "x"}
