"""What agent tools have in common: they can be called from anywhere, and their errors are for a model."""

from __future__ import annotations

import asyncio
import contextvars
import threading

import pytest
from langchain_core.tools import ToolException
from pydantic import BaseModel, Field

from xagent_core import Engine, InvalidRequestError, Settings
from xagent_core.agent_tool import AgentTool, EngineTool, explain
from xagent_core.bridge import in_thread
from xagent_core.plugins import Plugins
from xagent_core.testing.fakes import FakeBackend

WHO = contextvars.ContextVar("WHO", default="nobody")


class Arguments(BaseModel):
    text: str = Field(min_length=1)
    times: int = Field(default=2, ge=1)


class Repeat(AgentTool):
    name: str = "repeat"
    description: str = "Repeats a text."
    args_schema: object = Arguments

    def work(self, *, text, times):
        if text == "bad":
            raise InvalidRequestError("repeat", "it is bad", "Be good.")
        return {"text": text * times, "thread": threading.current_thread().name}


class Where(EngineTool):
    name: str = "where"
    description: str = "Says where it is run."
    args_schema: object = Arguments
    at_work: object = Field(default_factory=threading.Event)

    async def work(self, *, text, times):
        if text == "wait":
            self.at_work.set()
            await asyncio.sleep(60)
        if text == "bad":
            raise InvalidRequestError("where", "it is bad")
        return (asyncio.get_running_loop() is self.engine.loop, text * times, WHO.get())


def make_engine():
    return Engine(FakeBackend(), plugins=Plugins(), settings=Settings())


@pytest.fixture
async def where():
    async with make_engine() as engine:
        yield Where(engine=engine)


def call(**arguments):
    return {"type": "tool_call", "id": "call-1", "name": "any", "args": arguments}


async def test_a_blocking_tool_runs_in_this_thread_or_beside_the_event_loop():
    here = threading.current_thread().name
    assert Repeat().invoke({"text": "a"}) == {"text": "aa", "thread": here}
    there = await Repeat().ainvoke({"text": "a", "times": 1})
    assert there["text"] == "a"
    assert there["thread"] != here


async def test_a_plain_string_is_the_first_argument_and_the_others_have_their_defaults(where):
    assert Repeat().invoke("ab")["text"] == "abab"
    assert (await Repeat().ainvoke("ab"))["text"] == "abab"
    assert (await where.ainvoke("ab"))[1] == "abab"


@pytest.mark.parametrize("tool", [Repeat(), Where.model_construct(engine=make_engine())], ids=lambda tool: tool.name)
def test_wrong_arguments_are_named_one_by_one(tool):
    message = tool.invoke(call(text="", times="many"))
    assert message.status == "error"
    assert message.content.splitlines() == [
        "invalid arguments",
        "text: String should have at least 1 character",
        "times: Input should be a valid integer, unable to parse string as an integer",
    ]


def test_what_is_no_error_of_pydantic_2_is_explained_too():
    assert explain(ValueError("odd")) == "invalid arguments: odd"


async def test_an_error_of_xagent_is_for_the_model_to_read(where):
    message = await asyncio.to_thread(Repeat().invoke, call(text="bad"))
    assert (message.status, message.content) == ("error", "repeat: it is bad. Be good.")
    assert (await where.ainvoke(call(text="bad"))).content == "where: it is bad"


async def test_who_wants_exceptions_gets_them(where):
    where.handle_tool_error = False
    with pytest.raises(ToolException, match="it is bad") as caught:
        await where.ainvoke({"text": "bad"})
    assert isinstance(caught.value.__cause__, InvalidRequestError)


async def test_an_engine_tool_works_in_the_engines_loop_wherever_it_is_called(where):
    WHO.set("me")
    expected = (True, "aa", "me")
    assert await where.ainvoke("a") == expected
    assert await asyncio.to_thread(where.invoke, "a") == expected  # no loop in that thread
    assert await asyncio.to_thread(lambda: asyncio.run(where.ainvoke("a"))) == expected  # another loop

    async def blocking_in_another_loop():
        return where.invoke("a")

    assert await asyncio.to_thread(lambda: asyncio.run(blocking_in_another_loop())) == expected


async def test_a_blocking_call_in_the_engines_own_loop_says_why_it_cannot_be(where):
    message = where.invoke(call(text="a"))
    assert message.status == "error"
    assert "would wait for itself. Await" in message.content


async def test_a_cancelled_call_ends_in_the_engines_loop_too(where):
    def cancelled_in_another_loop():
        async def main():
            task = asyncio.create_task(where.ainvoke("wait"))
            assert await asyncio.to_thread(where.at_work.wait, 30)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        asyncio.run(main())

    before = asyncio.all_tasks()
    await asyncio.to_thread(cancelled_in_another_loop)
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before


def test_an_engine_that_is_not_open_or_open_no_more():
    engine = make_engine()
    where = Where(engine=engine)
    assert "it is not open" in where.invoke(call(text="a")).content

    async def once():
        async with engine:
            pass

    asyncio.run(once())
    assert "it is not open" in where.invoke(call(text="a")).content


def test_a_loop_that_ends_during_a_blocking_call_does_not_hang_it():
    answers = []

    async def main():
        async with make_engine() as engine:
            tool = Where(engine=engine)
            thread = threading.Thread(target=lambda: answers.append(tool.invoke(call(text="wait")).content))
            thread.start()
            assert await asyncio.to_thread(tool.at_work.wait, 30)
        return thread

    asyncio.run(main()).join(30)
    assert answers == ["engine: its event loop ended during the call. Keep it open until all are done."]


async def test_blocking_work_does_not_wait_for_the_loops_own_threads():
    """They may all be waiting for the engine."""
    released = threading.Event()
    waiting = [asyncio.to_thread(released.wait, 60) for _ in range(40)]
    tasks = [asyncio.ensure_future(each) for each in waiting]
    await asyncio.sleep(0)
    WHO.set("me")
    assert await in_thread(lambda text: text + WHO.get(), "by ") == "by me"
    with pytest.raises(ZeroDivisionError):
        await in_thread(lambda: 1 / 0)
    released.set()
    assert all(await asyncio.gather(*tasks))
