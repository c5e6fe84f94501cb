"""Calls of tools that go through a queue: what they may hold, what may come back, and what a worker imports."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import pytest
from langchain_core.callbacks import adispatch_custom_event
from langchain_core.tools import ToolException, tool

from xagent_core import (
    Engine,
    ExecutionRequest,
    InvalidRequestError,
    PoolConfig,
    SandboxLostError,
    ToolCall,
    ToolRegistration,
    ToolResult,
    Worker,
    get_queue,
    hookimpl,
    load_plugins,
)
from xagent_core.queueing.entries import REQUEST, RESULT
from xagent_core.queueing.payload import decode, encode
from xagent_core.testing.fakes import FakeBackend


@pytest.mark.parametrize(
    "value",
    [
        ExecutionRequest(code="x"),
        ToolCall(name="think", arguments={"thought": "\udcff ü", "n": [1, None, {"x": 0.5}]}),
        ToolResult(content="text", artifact={"code": "x", "status": "success"}),
        ToolResult(content=[{"type": "text", "text": "a"}], status="error"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_json_says_by_itself_which_kind_it_is(value):
    kind = RESULT if isinstance(value, ToolResult) else REQUEST
    assert decode(kind, encode(value)) == value


def test_what_was_written_before_there_were_calls_of_tools_is_read():
    assert decode(REQUEST, '{"code": "print(1)", "language": "python"}') == ExecutionRequest(code="print(1)")
    old = '{"status":"error","output":"","error":"","exit_code":3,"execution_time":1,"language":"x","backend":"b"}'
    assert decode(RESULT, old).exit_code == 3


@pytest.mark.parametrize("text", ["{}", "[]", '{"name": ""}', '{"name": "think", "arguments": []}'])
def test_what_is_neither_is_refused(text):
    with pytest.raises(InvalidRequestError):
        decode(REQUEST, text)


@pytest.mark.parametrize("arguments", [{"x": object()}, {"x": float("nan")}, {("x",): 1}, ["x"]])
def test_arguments_that_cannot_be_json_are_refused(arguments):
    with pytest.raises(InvalidRequestError):
        ToolCall(name="think", arguments=arguments)


def test_a_call_is_what_it_was_when_it_was_made():
    arguments = {"list": [1]}
    call = ToolCall(name="think", arguments=arguments)
    arguments["list"].append(2)
    assert call.arguments == {"list": [1]}


async def test_a_call_takes_no_options_of_programs():
    async with get_queue("docket", url="memory://") as queue:
        with pytest.raises(TypeError, match="timeout"):
            await queue.submit(ToolCall(name="think"), timeout=1)


@tool
async def plain(how: str) -> object:
    """Is no tool of ours, and does what it is told."""
    if how == "says that it failed":
        raise ToolException("it failed")
    if how == "lost a sandbox":
        raise SandboxLostError("engine", "it is gone", code_ran="no")
    if how == "has a bug":
        raise KeyError("bug")
    if how == "writes no output":
        await adispatch_custom_event("xagent_output", {"stream": "no such", "data": 1})
    return {"a": 1}


@tool(response_format="content_and_artifact")
def odd() -> tuple[str, object]:
    """Has an artifact that is no JSON."""
    return "text", object()


@pytest.fixture
async def called():
    """Calls a tool by a queue, and gives its job."""
    plugins = load_plugins()
    tools = [
        ToolRegistration(name="plain", summary="", factory=lambda _: plain),
        ToolRegistration(name="odd", summary="", factory=lambda _: odd),
        ToolRegistration(name="broken", summary="", factory=lambda _: 1 / 0),
    ]
    module = SimpleNamespace(xagent_register_tools=hookimpl(lambda: tools))
    plugins.add("odd", "odd-tools", "0", lambda: module)
    engine = Engine(FakeBackend(), plugins=plugins, pool=PoolConfig(ready=0))
    async with engine, get_queue("docket", url="memory://") as queue, Worker(queue, engine):

        async def call(name, **arguments):
            job = await queue.submit(ToolCall(name=name, arguments=arguments), attempts=2)
            async for _ in queue.events(job.id):
                pass
            return await queue.job(job.id)

        yield call


@pytest.mark.parametrize(("how", "said"), [("says that it failed", "it failed"), ("lost a sandbox", "it is gone")])
async def test_a_tool_of_others_that_fails_is_a_result(called, how, said):
    job = await called("plain", how=how)
    assert (job.state, job.attempt, job.result.status) == ("finished", 1, "error")
    assert said in job.result.content


async def test_arguments_that_a_tool_of_others_finds_invalid_are_a_result(called):
    job = await called("plain")
    assert (job.state, job.result.status) == ("finished", "error")
    assert "how: Field required" in job.result.content


async def test_a_tool_with_a_bug_may_have_had_effects(called):
    job = await called("plain", how="has a bug")
    assert (job.state, job.attempt, job.failure.code_ran) == ("dead", 1, "maybe")
    assert "KeyError" in job.failure.cause


async def test_output_that_is_none_is_left_out(called):
    job = await called("plain", how="writes no output")
    assert (job.state, job.result.status) == ("finished", "success")


async def test_an_artifact_that_cannot_be_json_is_said_to_be(called):
    job = await called("odd")
    assert (job.state, job.attempt) == ("dead", 1)
    assert "its artifact cannot be JSON" in job.failure.cause


async def test_a_tool_that_cannot_be_made_keeps_no_other_from_its_work(called):
    assert (await called("broken")).state == "dead"
    assert (await called("plain", how="")).state == "finished"


def test_langchain_is_not_imported_before_the_first_call():
    program = """
import asyncio, sys
from xagent_core import ToolCall, Worker, get_queue
from xagent_core.testing.queues.worker import LANGUAGE, fake_engine, program

async def main():
    engine, _ = fake_engine()
    async with get_queue("docket", url="memory://") as queue, engine, Worker(queue, engine):
        await queue.result((await queue.submit(program(), language=LANGUAGE)).id, timeout=60)
        print("langchain_core" in sys.modules)
        call = ToolCall(name="play", arguments={"told": program(pieces=["played"])})
        print((await queue.tool_result((await queue.submit(call)).id, timeout=60)).content)

asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "played"]
