"""A request gets what its caller asked for, or an error; the language's needs raise what nobody asked for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from xagent_core import (
    Capabilities,
    ExecutionRequest,
    InputFile,
    InvalidRequestError,
    Language,
    Limits,
    Needs,
    NetworkPolicy,
    PolicyNotSupportedError,
)
from xagent_core.guest.script import guest_command
from xagent_core.policy import DEFAULT_LIMITS, Plan, plan

MIB = 2**20
ALL = Capabilities(limits=frozenset({"memory", "cpus", "processes", "scratch"}), networks=frozenset(NetworkPolicy))
NONE = Capabilities(limits=frozenset(), how={"memory": "not held: no cgroup"})
PLAIN = Language(name="plain", extensions=(".x",), executables=("x",), run=("x", "{source}"), env={"HERE": "{source}"})
HUNGRY = Language(
    name="hungry", extensions=(".h",), executables=("h",), run=("h", "{source}"), build=("hc", "{source}"),
    needs=Needs(memory=512 * MIB, scratch=64 * MIB, processes=128, exec=True),
)  # fmt: skip
STANDBY = Language(
    name="standby", extensions=(".s",), executables=("s",), run=("s", "{source}"), standby=True, env={"S": "1"}
)


def planned(request: ExecutionRequest, language: Language = PLAIN, capabilities: Capabilities = ALL) -> Plan:
    return plan(request, language, defaults=DEFAULT_LIMITS, backend="test", capabilities=capabilities)


def test_defaults_are_those_that_the_design_promises():
    spec, limits = planned(ExecutionRequest(code="")).spec, planned(ExecutionRequest(code="")).limits
    assert (spec.memory, spec.cpus, spec.processes, spec.scratch) == (128 * MIB, 0.5, 64, 10 * MIB)
    assert (limits.timeout, limits.output, limits.collect) == (30.0, MIB, 10 * MIB)
    assert spec.network is NetworkPolicy.NONE
    assert not spec.scratch_exec
    assert spec.unenforced == ()


def test_what_the_caller_sets_goes_first():
    spec = planned(ExecutionRequest(code="", limits=Limits(memory=64 * MIB, cpus=2, processes=10, scratch=MIB))).spec
    assert (spec.memory, spec.cpus, spec.processes, spec.scratch) == (64 * MIB, 2, 10, MIB)


def test_a_languages_needs_raise_the_defaults_and_nothing_else():
    spec = planned(ExecutionRequest(code="", limits=Limits(memory=1024 * MIB)), HUNGRY).spec
    assert (spec.memory, spec.processes, spec.scratch, spec.cpus) == (1024 * MIB, 128, 64 * MIB, 0.5)
    assert spec.scratch_exec


@pytest.mark.parametrize(
    ("limit", "said", "needed"),
    [
        ({"memory": 128 * MIB}, "memory=128 MiB", "512 MiB"),
        ({"scratch": 10 * MIB}, "scratch=10 MiB", "64 MiB"),
        ({"processes": 64}, "processes=64", "128"),
    ],
)
def test_a_limit_below_a_languages_need_says_how_much_it_needs(limit, said, needed):
    words = rf"limit {said} is less than hungry needs \({needed}\)\. Set at least {needed},"
    with pytest.raises(InvalidRequestError, match=words):
        planned(ExecutionRequest(code="", limits=Limits(**limit)), HUNGRY)


@pytest.mark.parametrize(
    "limit",
    [{"memory": 128 * MIB}, {"cpus": 1.0}, {"processes": 64}, {"scratch": 10 * MIB}],
    ids=lambda limit: next(iter(limit)),
)
def test_a_limit_that_cannot_be_held_is_refused_and_not_dropped(limit):
    with pytest.raises(PolicyNotSupportedError, match=f"test: it cannot hold the limit {next(iter(limit))}"):
        planned(ExecutionRequest(code="", limits=Limits(**limit)), capabilities=NONE)


def test_the_refusal_says_why():
    with pytest.raises(PolicyNotSupportedError, match=r"\(not held: no cgroup\).*xagent doctor"):
        planned(ExecutionRequest(code="", limits=Limits(memory=64 * MIB)), capabilities=NONE)


def test_defaults_that_cannot_be_held_are_told():
    assert planned(ExecutionRequest(code=""), capabilities=NONE).spec.unenforced == (
        "memory", "cpus", "processes", "scratch",
    )  # fmt: skip


def test_limits_that_core_holds_need_no_backend():
    limits = planned(ExecutionRequest(code="", limits=Limits(timeout=1, output=0, collect=5)), capabilities=NONE).limits
    assert (limits.timeout, limits.output, limits.collect) == (1, 0, 5)


def test_a_network_that_cannot_be_held_is_refused():
    with pytest.raises(PolicyNotSupportedError, match=r"network='internet'.*It offers none"):
        planned(ExecutionRequest(code="", network=NetworkPolicy.INTERNET), capabilities=NONE)


def test_what_does_not_fit_the_scratch_space_is_refused_before_anything_runs():
    request = ExecutionRequest(
        code="x" * MIB, stdin=b"x" * MIB, files=(InputFile("f", b"x" * MIB),), limits=Limits(scratch=3 * MIB)
    )
    with pytest.raises(InvalidRequestError, match=f"are {3 * MIB} bytes and the scratch space is 3 MiB"):
        planned(request)


@pytest.mark.parametrize("path", ["main.x", "main.x/below"])
def test_an_input_file_may_not_stand_where_the_program_does(path):
    with pytest.raises(InvalidRequestError, match=r"would replace the program 'main.x'"):
        planned(ExecutionRequest(code="", files=(InputFile(path, b""),)))
    assert planned(ExecutionRequest(code="", files=(InputFile("main.xy", b""),)))


def test_equal_requests_share_a_kind_of_sandbox_whatever_they_run():
    one = planned(ExecutionRequest(code="a", args=("1",), stdin=b"x")).spec
    other = planned(ExecutionRequest(code="b", env={"A": "1"}, files=(InputFile("f", b""),))).spec
    assert one == other
    assert hash(one) == hash(other)


def test_a_standby_interpreter_has_its_environment_from_the_start_and_others_get_it_with_the_job():
    standing = planned(ExecutionRequest(code=""), STANDBY)
    assert standing.program.standby == ("s", "main.s")
    assert ("S", "1") in standing.spec.env
    assert standing.spec.command[-3:] == ("", "s", "main.s")
    # One that is started for a job that waits has none, and is the same otherwise.
    assert standing.cold == replace(standing.spec, command=guest_command())
    plain = planned(ExecutionRequest(code=""))
    assert plain.program.env == {"HERE": "main.x"}
    assert "HERE" not in dict(plain.spec.env)
    assert plain.cold == plain.spec


@pytest.mark.parametrize(
    "request_", [ExecutionRequest(code="", args=("a",)), ExecutionRequest(code="", env={"A": "b"})]
)
def test_an_interpreter_that_is_up_cannot_take_arguments_or_variables(request_):
    program = planned(request_, STANDBY).program
    assert program.standby == ()
    assert program.run == ("s", "main.s", *request_.args)
    assert program.env == {"S": "1", **request_.env}


@pytest.mark.parametrize(
    ("code", "source"),
    [
        ("", b""),
        ("\ufeffprint(1)\r\nprint(2)\r\n", b"print(1)\nprint(2)\n"),
        ("a\rb", b"a\rb"),
        ("\0", b"\0"),
        ("\udcff", b"\xff"),
        ("ä", "ä".encode()),
    ],
)
def test_source_text_as_it_is_written_to_its_file(code, source):
    assert planned(ExecutionRequest(code=code)).program.source == source


def test_source_text_that_cannot_be_written():
    with pytest.raises(InvalidRequestError, match="cannot be encoded as UTF-8"):
        planned(ExecutionRequest(code="\ud800"))
