"""Thoughts are kept, can be listed, and do not grow without bound."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from xagent_tools_code.think import Think, Thought, ThoughtStore


def thought(text: str) -> Thought:
    return Thought(thought_id=text, thought=text, context=None, timestamp="")


async def test_a_thought_comes_back_with_an_id_and_its_time():
    think = Think()
    first = await think.ainvoke({"thought": "The file is empty.", "context": "report.csv"})
    second = await asyncio.to_thread(think.invoke, "Try again.")
    assert (first["thought"], first["context"]) == ("The file is empty.", "report.csv")
    assert abs((datetime.now(UTC) - datetime.fromisoformat(first["timestamp"])).total_seconds()) < 60
    assert second["context"] is None
    assert [kept.thought_id for kept in think.thoughts.list()] == [first["thought_id"], second["thought_id"]]
    assert first["thought_id"] != second["thought_id"]


def test_no_two_tools_share_thoughts():
    one, other = Think(), Think()
    one.invoke("mine")
    assert (len(one.thoughts), len(other.thoughts)) == (1, 0)


def test_the_oldest_thoughts_go_when_they_are_too_many():
    store = ThoughtStore(most=2)
    for text in "abc":
        store.add(thought(text))
    assert [kept.thought for kept in store.list()] == ["b", "c"]


def test_the_oldest_thoughts_go_when_they_are_too_long():
    store = ThoughtStore(most_characters=10)
    for text in ("aaaa", "bbbb", "cccc"):
        store.add(thought(text))
    assert [kept.thought for kept in store.list()] == ["bbbb", "cccc"]
    store.add(thought("d" * 11))
    assert store.list() == []


def test_an_empty_thought_is_none():
    message = Think().invoke({"type": "tool_call", "id": "1", "name": "think", "args": {"thought": ""}})
    assert (message.status, message.content) == (
        "error",
        "invalid arguments\nthought: String should have at least 1 character",
    )
