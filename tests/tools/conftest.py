"""Tools over real sandboxes, and an agent whose model says what a test tells it to say."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from itertools import count
from types import SimpleNamespace
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from pydantic import PrivateAttr

from tests.backends import EACH_BACKEND
from xagent_core import Engine, ImageNotFoundError, Workspace, get_tools
from xagent_core.config import load_settings
from xagent_core.testing.pytest_plugin import REQUIRE_ENGINES

Turn = AIMessage | Callable[[list[BaseMessage]], AIMessage]


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path / "work")


@pytest.fixture(params=EACH_BACKEND)
async def any_engine(request):
    """Each backend in turn."""
    # The user's own configuration has no say in tests.
    async with Engine(request.param, settings=load_settings({"XAGENT_CONFIG": "/dev/null"})) as engine:
        try:
            await engine.execute("")
        except ImageNotFoundError as error:
            give_up = pytest.fail if request.param in os.environ.get(REQUIRE_ENGINES, "") else pytest.skip
            give_up(f"{error} `xagent images build` makes all that these tests need.")
        yield engine


@pytest.fixture
async def engine():
    """The backend that starts fastest; a test that asks for it is marked with its name."""
    async with Engine("bubblewrap", settings=load_settings({"XAGENT_CONFIG": "/dev/null"})) as engine:
        yield engine


@pytest.fixture
def tools(engine, workspace):
    return named(get_tools(engine, workspace=workspace, names=NAMES))


NAMES = ("execute_code", "think", "read_file", "write_file", "list_files", "edit_file")


def named(tools):
    return SimpleNamespace(**{tool.name: tool for tool in tools}, all=tools)


async def until(condition):
    """Waits until something is so."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.05)


class ScriptedModel(BaseChatModel):
    """Says one message after the other. Each may be a function of what was said so far."""

    turns: list[Any]
    _bound: list[str] = PrivateAttr(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Sequence[Any], **_options: Any) -> ScriptedModel:
        """Notes which tools the agent has offered."""
        self._bound = [tool.name for tool in tools]
        return self

    def _generate(self, messages: list[BaseMessage], *_args: Any, **_options: Any) -> ChatResult:
        said = sum(isinstance(message, AIMessage) for message in messages)
        turn = self.turns[said]
        message = turn if isinstance(turn, AIMessage) else turn(messages)
        return ChatResult(generations=[ChatGeneration(message=message)])


_IDS = count(1)


def uses(*calls: tuple[str, dict[str, Any]]) -> AIMessage:
    """A model's message that calls tools."""
    return AIMessage(
        "", tool_calls=[{"name": name, "args": arguments, "id": f"call-{next(_IDS)}"} for name, arguments in calls]
    )


def answers(messages: list[BaseMessage]) -> list[ToolMessage]:
    """What the tools have answered, in order."""
    return [message for message in messages if isinstance(message, ToolMessage)]
