"""Agents of LangChain that use the tools, driven by a model that says what it is told to say."""

from __future__ import annotations

import asyncio
import json

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage

from tests.tools.conftest import NAMES, ScriptedModel, answers, until, uses
from xagent_core import open_tools

pytestmark = pytest.mark.engine("bubblewrap")

TASK = {"messages": [("user", "Sum the column n of data.csv.")]}
CODE = "import csv; print(sum(int(row['n']) for row in csv.DictReader(open('data.csv'))))"


def agent_of(tools, *turns):
    model = ScriptedModel(turns=[*turns, lambda messages: AIMessage(f"Done: {answers(messages)[-1].content}")])
    return create_agent(model, tools), model


async def test_a_chain_of_tools_from_a_file_to_an_answer(tools, workspace):
    agent, model = agent_of(
        tools.all,
        uses(("think", {"thought": "First the data, then the sum.", "context": "data.csv"})),
        uses(("write_file", {"path": "data.csv", "content": "n\n1\n2\n"})),
        uses(("write_file", {"path": "data.csv", "content": "39\n", "append": True}), ("list_files", {})),
        uses(("execute_code", {"code": CODE})),
        uses(("edit_file", {"path": "data.csv", "old_text": "39", "new_text": "40"})),
        uses(("execute_code", {"code": f"{CODE}\nopen('out.txt', 'w').write('ready')"})),
        uses(("read_file", {"path": "out.txt"})),
    )
    end = await agent.ainvoke(TASK)
    said = [json.loads(message.content) for message in answers(end["messages"])]
    assert sorted(model._bound) == sorted(NAMES)
    assert all(message.status == "success" for message in answers(end["messages"]))
    assert said[0]["thought_id"] == tools.think.thoughts.list()[0].thought_id
    assert [entry["path"] for entry in said[3]["entries"]] in (["data.csv"], [])  # both calls run at once
    assert said[4]["output"] == "42\n"
    assert said[5] == {"status": "success", "path": "data.csv", "replacements": 1, "line": 4}
    assert said[6]["output"] == "43\n"
    assert end["messages"][-1].content.startswith('Done: {"status": "success", "path": "out.txt", "content": "ready"')
    assert workspace.read("data.csv") == b"n\n1\n2\n40\n"


async def test_a_model_reads_what_went_wrong_and_does_better(tools):
    def mend(messages):
        (*_, last) = answers(messages)
        assert last.status == "error"
        name = last.content.partition("'../")[2].partition("'")[0]
        return uses(("write_file", {"path": name, "content": "n\n42\n"}))

    agent, _ = agent_of(
        tools.all,
        uses(("write_file", {"path": "../data.csv", "content": "n\n42\n"})),
        mend,
        uses(("execute_code", {"code": CODE, "language": "ruby"}), ("execute_code", {"timeout": 1})),
        uses(("execute_code", {"code": f"{CODE}\nraise SystemExit(1)"})),
        uses(("execute_code", {"code": CODE, "language": "py"})),
    )
    messages = answers((await agent.ainvoke(TASK))["messages"])
    assert [message.status for message in messages] == ["error", "success", "error", "error", "success", "success"]
    assert "is not inside the workspace. Use a relative path" in messages[0].content
    assert "language: Input should be 'bash', 'go'" in messages[2].content
    assert "code: Field required" in messages[3].content
    assert [json.loads(message.content)["status"] for message in messages[4:]] == ["error", "success"]
    assert json.loads(messages[5].content)["output"] == "42\n"


async def test_calls_in_one_turn_run_at_once_and_bring_their_artifacts(tools):
    calls = [
        ("execute_code", {"code": f"open('{number}.bin', 'wb').write(b'\\xff')", "timeout": 60}) for number in range(5)
    ]
    agent, _ = agent_of(tools.all, uses(*calls), uses(("list_files", {})))
    messages = answers((await agent.ainvoke(TASK))["messages"])
    assert [message.artifact["files"][0]["path"] for message in messages[:5]] == [f"{n}.bin" for n in range(5)]
    assert [entry["path"] for entry in json.loads(messages[5].content)["entries"]] == [f"{n}.bin" for n in range(5)]


async def test_an_agents_own_stream_has_the_programs_output_as_it_comes(tools):
    agent, _ = agent_of(tools.all, uses(("execute_code", {"code": "print(6 * 7)"})))
    events = [event async for event in agent.astream_events(TASK, version="v2")]
    output = [event["data"]["data"] for event in events if event["name"] == "xagent_output"]
    assert "".join(output) == "42\n"
    assert events[-1]["data"]["output"]["messages"][-1].content.startswith("Done: ")


async def test_an_agent_that_is_cancelled_leaves_no_program(tools, engine):
    agent, _ = agent_of(tools.all, uses(("execute_code", {"code": "import time; time.sleep(600)", "timeout": 600})))
    task = asyncio.create_task(agent.ainvoke(TASK))
    await until(lambda: engine.pool.stats().running)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: not engine.pool.stats().running)


def test_an_agent_in_a_synchronous_program(tmp_path):
    with open_tools("bubblewrap", workspace=tmp_path, names=NAMES) as tools:
        agent, _ = agent_of(
            tools,
            uses(("write_file", {"path": "data.csv", "content": "n\n40\n2\n"})),
            uses(("execute_code", {"code": CODE})),
        )
        end = agent.invoke(TASK)
    assert json.loads(answers(end["messages"])[1].content)["output"] == "42\n"
