"""Messages mean to the guest what they were made of, under every shell, whatever text and bytes they carry."""

from __future__ import annotations

import asyncio
import io
import tarfile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.host import HostBackend, Ran, run_job
from xagent_core import InputFile
from xagent_core.guest.wire import new_boundary

# Each example starts a guest.
guests = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

# What arguments may hold: any character but NUL, bytes that are not UTF-8 as Python has them, and what shells mind.
texts = st.one_of(
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30),
    st.text(st.sampled_from("'\"\\$`n\n\r\t *?[]{}();&|<>~#!=-\x1e\x7f\x81\x88\udc80\udcff"), max_size=30),
    st.sampled_from(["", "-n", "--", "-e", "$n", "'\"$n\"'", "\\n", "%s", "\n\n", "$(id)", "`id`", "a=b", "!!"]),
)
names = st.one_of(
    st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True),
    # The guest's own names, and those that one shell or another does not let go of.
    st.sampled_from(
        ["n", "b", "c", "k", "v", "o", "m", "t", "g", "line", "full", "IFS", "UID", "PPID", "OPTIND", "PS4"]
    ),
).filter(lambda name: name not in {"PATH", "_", "PWD", "OLDPWD", "SHLVL"} and not name.startswith("LD_"))


def once(shell: str, *argv: str, **arguments) -> Ran:
    """Runs one job in one guest."""

    async def run() -> Ran:
        host = HostBackend(shell)
        try:
            return await run_job(await host.guest(), argv, **arguments)
        finally:
            await host.aclose()

    return asyncio.run(run())


def to_bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


@guests
@given(args=st.lists(texts, max_size=6))
def test_any_argument_arrives(shell, args):
    ran = once(shell, "/usr/bin/printf", "%s\\0", "first", *args)
    assert ran.stdout.split(b"\0")[:-1] == list(map(to_bytes, ["first", *args]))


@pytest.mark.parametrize("size", [4000, 4096, 100_000])
def test_long_arguments_arrive(shell, size):
    assert once(shell, "/usr/bin/printf", "%s", "x" * size).stdout == b"x" * size


@guests
@given(env=st.dictionaries(names, texts, max_size=6), build=st.sampled_from([(), ("true",)]))
def test_any_variable_arrives_and_none_disturbs_the_guest(shell, env, build):
    ran = once(shell, "env", "-0", build=build, env=env)
    assert ran.outcome.status == "success"
    seen = dict(line.split(b"=", 1) for line in ran.stdout.split(b"\0")[:-1])
    assert {name: seen.get(to_bytes(name)) for name in env} == {name: to_bytes(value) for name, value in env.items()}


contents = st.one_of(
    st.binary(max_size=200),
    st.builds(
        lambda base, more, seed: (seed * (base // len(seed) + 2))[: max(0, base + more)],
        st.sampled_from([0, 4096, 65536, 131072]),
        st.integers(-2, 2),
        st.binary(min_size=1, max_size=7),
    ),
)


@guests
@given(content=contents, stdin=contents, source=contents)
def test_any_content_arrives(shell, content, stdin, source):
    """As a file, as input and as source; sizes around those at which it is sent in another way."""
    ran = once(
        shell, "cat", "dir/a file", "-", "main.x",
        files=(InputFile("dir/a file", content),), stdin=stdin, source=source,
    )  # fmt: skip
    assert ran.stdout == content + stdin + source


def test_all_bytes_in_all_ways(shell):
    every = bytes(range(256))
    for content in (every, every * 16, every * 17, every * 256, every * 257):
        ran = once(shell, "cat", "f", "-", "main.x", files=(InputFile("f", content),), stdin=content, source=content)
        assert ran.stdout == content * 3


paths = texts.map(lambda text: text.replace("/", "_").replace("\udc80", "x").replace("\udcff", "x")).filter(
    lambda text: text not in {"", ".", ".."} and len(to_bytes(text)) < 200
)


@guests
@given(folder=paths, name=paths)
def test_any_file_name_arrives(shell, folder, name):
    path = f"{folder}/{name}"
    ran = once(shell, "find", ".", "-type", "f", "!", "-name", "main.x", "-print0", files=(InputFile(path, b"x"),))
    assert ran.stdout == f"./{path}\0".encode()


def test_a_standby_interpreter_gets_any_source(shell):
    async def run(source: bytes) -> bytes:
        host = HostBackend(shell)
        try:
            standby = ("cat", "main.x")
            return (await run_job(await host.guest(standby=standby), source=source, standby=standby)).stdout
        finally:
            await host.aclose()

    every = bytes(range(256))
    for source in (b"", b"x", every, every * 16, every * 17, every * 300):
        assert asyncio.run(run(source)) == source


def test_boundaries_are_random_and_on_one_line():
    seen = {new_boundary() for _ in range(100)}
    assert len(seen) == 100
    assert all("\n" not in boundary and "'" not in boundary and " " not in boundary for boundary in seen)


@pytest.mark.parametrize("size", [0, 1, 511, 512, 513, 70_000])
def test_the_shells_tar_is_one_that_can_be_read(shell, size):
    """Not of core: it shows that what `collect` asks of tar is in every image."""
    ran = once(shell, "sh", "-c", "tar -cf - f", files=(InputFile("f", b"x" * size),))
    with tarfile.open(fileobj=io.BytesIO(ran.stdout)) as archive:
        assert archive.getmember("f").size == size
