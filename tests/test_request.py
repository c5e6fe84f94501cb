"""The arguments of a call become one request."""

from __future__ import annotations

import pytest

from xagent_core import ExecutionRequest, InputFile, InvalidRequestError, Limits, NetworkPolicy
from xagent_core.request import make_request


def test_code_alone_is_python_without_anything():
    assert make_request("x") == ExecutionRequest(code="x", language="python")


def test_every_argument_finds_its_place():
    request = make_request(
        "x",
        language="go",
        timeout=3,
        memory_limit="64m",
        cpu_limit=2,
        limits=Limits(timeout=9, processes=20),
        network=NetworkPolicy.INTERNET,
        stdin="ä",
        args=iter(["a"]),
        env={"A": "1"},
        files=[InputFile("f", b"")],
        collect=["*.png"],
    )
    assert request == ExecutionRequest(
        code="x",
        language="go",
        limits=Limits(timeout=3, memory=64 * 2**20, cpus=2, processes=20),
        network=NetworkPolicy.INTERNET,
        stdin="ä".encode(),
        args=("a",),
        env={"A": "1"},
        files=(InputFile("f", b""),),
        collect=("*.png",),
    )


def test_the_callers_own_mapping_is_not_kept():
    env = {"A": "1"}
    request = make_request("", env=env)
    env["A"] = "2"
    assert request.env == {"A": "1"}


def test_a_whole_request_is_given_back_and_takes_nothing_beside_it():
    request = ExecutionRequest(code="x")
    assert make_request(request) is request
    with pytest.raises(TypeError, match="takes no further arguments: timeout"):
        make_request(request, timeout=3)


def test_an_argument_that_there_is_not():
    with pytest.raises(TypeError, match="unexpected arguments: memory"):
        make_request("", memory="64m")  # type: ignore[call-arg]


@pytest.mark.parametrize("name", ["args", "collect"])
def test_one_string_where_several_belong_says_what_to_write(name):
    with pytest.raises(InvalidRequestError, match=rf"{name} must be a list, not a string\. Write {name}=\['x y'\]"):
        make_request("", **{name: "x y"})


def test_input_that_was_no_utf8_where_it_came_from_is_what_it_was():
    assert make_request("", stdin="\udcff").stdin == b"\xff"
    assert make_request("", stdin=b"\0\xff").stdin == b"\0\xff"


def test_a_network_policy_may_be_named():
    assert make_request("x", network="internet").network is NetworkPolicy.INTERNET


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"network": "lan"}, "network='lan' is unknown. Write 'none' or 'internet'"),
        ({"files": {"a": b"x"}}, r"Write InputFile\('a.txt', b'...'\)"),
        ({"language": None}, "the language must be a name, not None"),
    ],
)
def test_what_is_of_the_wrong_kind_is_told(arguments, told):
    with pytest.raises(InvalidRequestError, match=told):
        make_request("x", **arguments)
