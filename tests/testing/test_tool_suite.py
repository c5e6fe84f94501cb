"""Each test of the tools' suite fails for a tool that has the fault which it is there for, and passes a good one."""

from __future__ import annotations

import inspect
from typing import Annotated, Any

import pytest
from langchain_core.tools import BaseTool, ToolException, tool
from pydantic import BaseModel, ConfigDict, Field

from xagent_core import Engine, PoolConfig, ToolRegistration, get_tools
from xagent_core.config import Settings
from xagent_core.testing import ToolConformance
from xagent_core.testing.fakes import FakeBackend
from xagent_core.testing.tools import _only


class Arguments(BaseModel):
    text: str = Field(description="What is counted", max_length=100)


class Loose(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)

    text: str = Field(default="", description="What is counted")


class Silent(BaseModel):
    text: str = Field(max_length=100)


class Anything(BaseModel):
    text: Any = Field(default=None, description="What is counted")


class Nested(BaseModel):
    class Part(BaseModel):
        words: list[str] = Field(description="Words", max_length=10)

    part: Part = Field(description="A part")


class Good(BaseTool):
    name: str = "count"
    description: str = "Counts the characters of a text"
    args_schema: Any = Arguments
    handle_tool_error: bool = True
    handle_validation_error: Any = str  # which names what is wrong; True does not

    def _run(self, text: str = "", **_: Any) -> Any:
        if text == "fail":
            raise ToolException("this text cannot be counted")
        return str(len(text))


class Raises(Good):
    handle_tool_error: bool = False
    handle_validation_error: Any = False


class NamesNothing(Good):
    handle_validation_error: Any = True


class GivesAnObject(Good):
    def _run(self, text: str = "", **_: Any) -> Any:
        return [{"type": "text", "text": {len(text)}}]


class OnlyAwaited(Good):
    def _run(self, **_: Any) -> Any:
        raise ToolException("await it")

    async def _arun(self, text: str = "", **_: Any) -> Any:
        return str(len(text))


class HidesItsFailure(Good):
    def _run(self, **_: Any) -> Any:
        return "sorry"


FAULTS = [
    (Good(name="other"), "its_name_and_description_tell_a_model_what_it_is"),
    (Good(description="Counts"), "its_name_and_description_tell_a_model_what_it_is"),
    (Good(args_schema=Loose), "every_argument_is_described_and_bounded"),
    (Good(args_schema=Silent), "every_argument_is_described_and_bounded"),
    (Good(args_schema=Anything), "every_argument_is_described_and_bounded"),
    (Good(args_schema=Nested), "every_argument_is_described_and_bounded"),
    (Good(description=""), "its_schema_can_be_sent_to_a_model"),
    (OnlyAwaited(), "a_call_works_in_both_ways"),
    (GivesAnObject(), "a_call_works_in_both_ways"),
    (Raises(), "arguments_that_are_wrong_are_told_to_the_model"),
    (NamesNothing(), "arguments_that_are_wrong_are_told_to_the_model"),
    (Raises(), "a_call_that_fails_is_told_to_the_model"),
    (HidesItsFailure(), "a_call_that_fails_is_told_to_the_model"),
]
TESTS = sorted({name for _, name in FAULTS})


async def run(name: str, made: BaseTool) -> None:
    """Runs one test of the suite as pytest does."""
    registration = ToolRegistration(name="count", summary="Counts", factory=lambda _context: made)
    test = getattr(ToolConformance(), f"test_{name}")
    async with Engine(
        FakeBackend(), settings=Settings(), plugins=_only(registration), pool=PoolConfig(ready=0)
    ) as engine:
        given = {
            "made": get_tools(engine)[0],
            "registration": registration,
            "call": {"text": "four"},
            "failing_call": {"text": "fail"},
        }
        await test(**{parameter: given[parameter] for parameter in inspect.signature(test).parameters})


@pytest.mark.parametrize(
    ("made", "name"), FAULTS, ids=lambda value: value if isinstance(value, str) else type(value).__name__
)
async def test_the_fault_is_found(made, name):
    with pytest.raises(Exception):  # noqa: B017, PT011 - what the tool raises, or what the suite finds
        await run(name, made)


@pytest.mark.parametrize("name", TESTS)
async def test_a_good_tool_passes(name):
    await run(name, Good())


async def test_a_tool_by_langchains_own_decorator_can_pass():
    @tool
    def count(text: Annotated[str, Field(description="What is counted", max_length=100)]) -> str:
        """Counts the characters of a text."""
        if text == "fail":
            raise ToolException("this text cannot be counted")
        return str(len(text))

    count.handle_tool_error, count.handle_validation_error = True, str
    for name in TESTS:
        await run(name, count)


def test_every_test_is_shown_to_fail():
    tests = {name.removeprefix("test_") for name in ToolConformance.suite_parts if name.startswith("test_")}
    assert tests == set(TESTS)
