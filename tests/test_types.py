"""What crosses the public interface is checked when it is made, and survives JSON."""

from __future__ import annotations

import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from xagent_core import (
    ExecutionRequest,
    ExecutionResult,
    InputFile,
    InvalidRequestError,
    Limits,
    NetworkPolicy,
    OutputEvent,
    OutputFile,
    XAgentError,
    errors,
    parse_size,
)
from xagent_core.types import Timings, Usage, format_size

KIB = 1024


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0), ("1", 1), ("1b", 1), ("1k", KIB), ("1 KiB", KIB), ("1kb", KIB), ("256m", 256 * KIB**2), (7, 7),
        ("1.5g", 3 * KIB**3 // 2), (" 2T ", 2 * KIB**4), ("0.5k", 512),
    ],
)  # fmt: skip
def test_sizes_as_container_engines_read_them(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 b"), (1500, "1500 b"), (KIB, "1 KiB"), (3 * KIB**3 // 2, "1536 MiB"), (16 * KIB**4, "16 TiB")],
)
def test_sizes_are_written_as_they_are_read(size, text):
    assert format_size(size) == text
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "m", "-1m", "1x", "1mm", "1 2", "1,5g", "nan", "inf", "1e3", "9" * 400, True, None]
)
def test_what_is_no_size(text):
    with pytest.raises(InvalidRequestError, match=r"is not a size\. Write it like 256m"):
        parse_size(text)


@pytest.mark.parametrize("name", sorted(Limits.BOUNDS))
def test_limits_hold_their_bounds(name):
    low, high = Limits.BOUNDS[name]
    assert getattr(Limits(**{name: low}), name) == low
    assert getattr(Limits(**{name: high}), name) == high
    for wrong in (-1, low - 0.001 if name in ("cpus", "timeout") else low - 1, high + 1, math.inf):
        with pytest.raises(InvalidRequestError, match=f"limit {name}=.* is out of bounds"):
            Limits(**{name: wrong})
    for wrong in (math.nan, True, "1", [1]):
        with pytest.raises(InvalidRequestError, match=f"limit {name} must be a number"):
            Limits(**{name: wrong})


def test_bounds_are_told_in_the_units_that_they_are_given_in():
    with pytest.raises(InvalidRequestError, match=r"memory=1024 is out of bounds\. Choose from 6 MiB to 16 TiB\."):
        Limits(memory=1024)
    with pytest.raises(InvalidRequestError, match=r"cpus=0 is out of bounds\. Choose from 0\.01 to 4096\."):
        Limits(cpus=0)
    with pytest.raises(InvalidRequestError, match=r"processes=1 is out of bounds\. Choose from 8 to 4194304\."):
        Limits(processes=1)


@pytest.mark.parametrize("name", ["memory", "processes", "scratch", "output", "collect"])
def test_counts_are_whole(name):
    with pytest.raises(InvalidRequestError, match=f"limit {name} must be a whole number"):
        Limits(**{name: Limits.BOUNDS[name][1] - 0.5})


def test_limits_go_before_those_they_are_laid_over():
    assert Limits(memory=2**25).over(Limits(memory=2**26, timeout=3)) == Limits(memory=2**25, timeout=3)
    assert Limits(output=0).over(Limits(output=5)).output == 0


@pytest.mark.parametrize(
    "path", ["a", "a/b", "./a", "a//b", "-x", "a b", "ä", ".hidden", "two\nlines", "a/.", "*", "..."]
)
def test_paths_inside_the_workspace(path):
    assert not InputFile(path, b"").path.startswith("/")


@pytest.mark.parametrize("path", ["", ".", "/", "/etc/passwd", "..", "../a", "a/../b", "a/..", "//a", "a\0b"])
def test_paths_that_leave_the_workspace(path):
    with pytest.raises(InvalidRequestError):
        InputFile(path, b"")
    with pytest.raises(InvalidRequestError):
        ExecutionRequest(code="", collect=(path,))


@pytest.mark.parametrize("path", ["x" * 256, "ä" * 128, "/".join("x" * 2001), "\ud800", 5])
def test_paths_that_no_kernel_takes(path):
    with pytest.raises(InvalidRequestError):
        InputFile(path, b"")


def test_one_path_has_one_name():
    assert InputFile("./a//b/.", b"").path == "a/b"
    with pytest.raises(InvalidRequestError, match="two input files have the same path"):
        ExecutionRequest(code="", files=(InputFile("a/b", b""), InputFile("./a//b", b"")))


def test_a_file_is_no_folder():
    with pytest.raises(InvalidRequestError, match="'a/b' is also the folder of another"):
        ExecutionRequest(code="", files=(InputFile("a/b/c", b""), InputFile("a/b", b"")))


@pytest.mark.parametrize(
    "arguments",
    [
        {"args": ("a\0b",)},
        {"args": ("x" * 131_072,)},
        {"args": ("\ud800",)},
        {"args": (1,)},
        {"env": {"": "x"}},
        {"env": {"1A": "x"}},
        {"env": {"A B": "x"}},
        {"env": {"A=B": "x"}},
        {"env": {"A\n": "x"}},
        {"env": {"A": "\0"}},
        {"env": {"A": "x" * 131_072}},
        {"env": {"A": 1}},
        {"stdin": "text"},
        {"code": b"print(1)"},
        {"code": None},
    ],
)
def test_what_no_program_could_be_given(arguments):
    with pytest.raises(InvalidRequestError):
        ExecutionRequest(**{"code": "", **arguments})


def test_the_longest_argument_and_variable():
    ExecutionRequest(code="", args=("x" * 131_071,), env={"A": "x" * 131_069})


requests = st.builds(
    ExecutionRequest,
    code=st.text(),
    language=st.sampled_from(["python", "go"]),
    args=st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=10), max_size=3).map(tuple),
    env=st.dictionaries(
        st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,5}", fullmatch=True),
        st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=10),
        max_size=3,
    ),
    stdin=st.binary(),
    files=st.dictionaries(st.sampled_from(["a", "b/c", "d e"]), st.binary()).map(
        lambda files: tuple(InputFile(path, content) for path, content in files.items())
    ),
    collect=st.lists(st.sampled_from(["*.png", "out/**"])).map(tuple),
    limits=st.builds(Limits, memory=st.none() | st.integers(2**24, 2**30), cpus=st.none() | st.floats(0.1, 4)),
    network=st.sampled_from(NetworkPolicy),
)
results = st.builds(
    ExecutionResult,
    status=st.sampled_from(["success", "error", "timeout", "out_of_memory", "output_limit", "killed"]),
    output=st.text(),
    error=st.text(),
    exit_code=st.none() | st.integers(0, 255),
    execution_time=st.floats(0, 1000),
    language=st.just("python"),
    backend=st.just("docker"),
    phase=st.sampled_from(["build", "run"]),
    files=st.lists(st.builds(OutputFile, st.text(), st.binary())).map(tuple),
    usage=st.builds(Usage, peak_memory=st.none() | st.integers(0, 2**40), cpu_time=st.none() | st.floats(0, 100)),
    timings=st.builds(Timings, acquire=st.floats(0, 10), run=st.floats(0, 10)),
    unenforced=st.just(("memory",)),
)


@given(requests)
def test_requests_survive_json(request_):
    adapter = TypeAdapter(ExecutionRequest)
    assert adapter.validate_json(adapter.dump_json(request_)) == request_


@given(results)
def test_results_survive_json(result):
    adapter = TypeAdapter(ExecutionResult)
    assert adapter.validate_json(adapter.dump_json(result)) == result


def test_bytes_are_base64_in_json():
    json = TypeAdapter(ExecutionRequest).dump_python(ExecutionRequest(code="", stdin=b"\xff"), mode="json")
    assert json["stdin"] == "_w=="
    assert TypeAdapter(OutputEvent).dump_python(OutputEvent(stream="stdout", data="", raw=b"\0"), mode="json")["raw"]


def test_json_that_breaks_a_rule_is_refused():
    with pytest.raises(InvalidRequestError):
        TypeAdapter(ExecutionRequest).validate_json('{"code": "", "collect": ["../x"]}')


@pytest.mark.parametrize("kind", [ExecutionRequest, ExecutionResult, Limits, InputFile, OutputFile, OutputEvent])
def test_values_cannot_be_changed(kind):
    assert kind.__dataclass_params__.frozen
    assert "__slots__" in vars(kind)


def test_success_is_exit_code_0_and_nothing_else():
    assert ExecutionResult(
        status="success", output="", error="", exit_code=0, execution_time=0, language="x", backend="y"
    ).ok
    assert not ExecutionResult(
        status="killed", output="", error="", exit_code=137, execution_time=0, language="x", backend="y"
    ).ok


def test_every_error_is_in_the_tree_and_in_the_drawing():
    for name in errors.__all__:
        kind = getattr(errors, name)
        assert issubclass(kind, XAgentError)
        assert name in (errors.__doc__ or "")
        assert kind.__doc__


def test_an_error_names_component_cause_and_fix():
    error = XAgentError("docker", "no answer", "Start it.")
    assert str(error) == "docker: no answer. Start it."
    assert str(XAgentError("docker", "no answer")) == "docker: no answer"
    assert str(XAgentError("docker", "it says: Gone.", "Start it.")) == "docker: it says: Gone. Start it."
    assert dataclasses.is_dataclass(error) is False
    assert (error.component, error.cause, error.fix) == ("docker", "no answer", "Start it.")


def test_errors_survive_pickling():
    import pickle

    for error in (
        XAgentError("a", "b", "c"),
        errors.SandboxLostError("a", "b", "c", code_ran="no"),
        errors.PoolTimeoutError("a", "b"),
    ):
        again = pickle.loads(pickle.dumps(error))
        assert type(again) is type(error)
        assert vars(again) == vars(error)
