"""The suite of agent tools: what a model must be told to use one, and what it must get back."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

import pytest
import pytest_asyncio

from xagent_core.abc.language import Language
from xagent_core.abc.tool import ToolRegistration
from xagent_core.config import PoolConfig, Settings
from xagent_core.engine import Engine
from xagent_core.hookspecs import hookimpl
from xagent_core.plugins import Plugins, load_plugins
from xagent_core.testing.fakes import FakeBackend, FakeRun
from xagent_core.testing.suite import Conformance, required_fixture
from xagent_core.toolbox import get_tools

if TYPE_CHECKING:
    from langchain_core.messages import ToolMessage
    from langchain_core.tools import BaseTool

__all__ = ["ToolConformance"]

# What the interfaces of model providers allow as a function's name.
_NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_SEVERAL: Final = ("anyOf", "oneOf", "allOf")
_CLOSED: Final = ("boolean", "null")
_NO_CALL: Final = (
    "not tried: the fixture `{0}` gives no arguments of a call that {1}. A class of ToolConformance in the plugin's "
    "own tests gives them, by `{0} = fixed({{...}})`"
)


class ToolConformance(Conformance, suite=True, fixtures=("tool", "call", "failing_call", "options", "engine")):
    """All that an agent's tool promises.

        class TestCalculate(ToolConformance):
            tool = fixed("calculate")
            call = fixed({"expression": "6 * 7"})

    Fixtures:
        tool: Required. The tool's registered name, or its registration.
        call: The arguments of a call that works, however often; without it, no such call is tried.
        failing_call: The arguments of a call that the schema allows and that fails all the same.
        options: The tool's own settings.
        engine: What programs run on, opened in the class's event loop; by default one over a fake backend, whose
            programs print `42`.
    """

    tool = required_fixture("the tool's registered name, or its registration")

    @pytest.fixture(scope="class")
    @classmethod
    def call(cls) -> Mapping[str, Any] | None:
        """None."""
        return None

    @pytest.fixture(scope="class")
    @classmethod
    def failing_call(cls) -> Mapping[str, Any] | None:
        """None."""
        return None

    @pytest.fixture(scope="class")
    @classmethod
    def options(cls) -> Mapping[str, Any]:
        """None."""
        return {}

    @pytest_asyncio.fixture(scope="class", loop_scope="class")
    @classmethod
    async def engine(
        cls, tool: str | ToolRegistration, options: Mapping[str, Any], registration: ToolRegistration
    ) -> AsyncIterator[Engine]:
        """Programs print `42`."""
        plugins = load_plugins() if isinstance(tool, str) else _only(tool)
        settings = Settings(tools={registration.table or registration.name: dict(options)})
        backend = FakeBackend(FakeRun(stdout=b"42\n"))
        async with Engine(backend, settings=settings, plugins=plugins, pool=PoolConfig(ready=0)) as engine:
            yield engine

    @pytest.fixture(scope="class")
    @classmethod
    def registration(cls, tool: str | ToolRegistration) -> ToolRegistration:
        """The tool's registration."""
        return load_plugins().tools[tool] if isinstance(tool, str) else tool

    @pytest_asyncio.fixture(scope="class", loop_scope="class")
    @classmethod
    async def made(
        cls, engine: Engine, registration: ToolRegistration, tmp_path_factory: pytest.TempPathFactory
    ) -> BaseTool:
        """The tool itself, with a workspace that has one file, `file.txt`."""
        workspace = tmp_path_factory.mktemp("workspace")
        await asyncio.to_thread(Path(workspace, "file.txt").write_text, "first line\nsecond line\n", "utf-8")
        return get_tools(engine, workspace=workspace, names=[registration.name])[0]

    async def test_its_name_and_description_tell_a_model_what_it_is(
        self, made: BaseTool, registration: ToolRegistration
    ) -> None:
        """Under the name that it is registered by."""
        assert made.name == registration.name
        assert _NAME.fullmatch(made.name), "providers of models allow letters, digits, - and _, 64 at most"
        assert registration.summary, "a summary is what `xagent plugins list` shows"
        assert "\n" not in registration.summary
        assert len(made.description) >= 20, "a model knows only this of what the tool does"

    async def test_every_argument_is_described_and_bounded(self, made: BaseTool) -> None:
        """Texts and lists have a greatest length, numbers have both ends, or the values are named."""
        schema = _schema(made)
        assert schema.get("type") == "object"
        for name, field in schema.get("properties", {}).items():
            assert _described(field, schema), f"argument {name}: it has no description"
            for kind in _kinds(field, schema):
                assert not (missing := _unbounded(kind)), f"argument {name}: {missing}"

    async def test_its_schema_can_be_sent_to_a_model(self, made: BaseTool) -> None:
        """As JSON, in the form that most providers take."""
        from langchain_core.utils.function_calling import convert_to_openai_tool

        sent = json.loads(json.dumps(convert_to_openai_tool(made)))
        assert sent["function"]["name"] == made.name
        assert sent["function"]["description"]
        assert set(sent["function"].get("parameters", {}).get("properties", {})) == set(
            _schema(made).get("properties", {})
        )

    async def test_a_call_works_in_both_ways(self, made: BaseTool, call: Mapping[str, Any] | None) -> None:
        """Awaited, in a thread, and twice at the same time: the model gets text, or blocks that are JSON."""
        if call is None:
            pytest.skip(_NO_CALL.format("call", "works"))
        messages = [
            await made.ainvoke(_tool_call(made, call)),
            await asyncio.to_thread(made.invoke, _tool_call(made, call)),
            *await asyncio.gather(*(made.ainvoke(_tool_call(made, call)) for _ in range(2))),
        ]
        for message in messages:
            assert message.status == "success", message.content
            assert message.name == made.name
            assert message.tool_call_id == "call-1"
            assert message.content == json.loads(json.dumps(message.content))

    async def test_arguments_that_are_wrong_are_told_to_the_model(self, made: BaseTool) -> None:
        """Each that is missing or of a wrong type is named in a message; nothing is raised at the agent."""
        schema = _schema(made)
        wrong: list[tuple[dict[str, Any], str]] = [({}, name) for name in schema.get("required", [])]
        for name, field in schema.get("properties", {}).items():
            if all("type" in kind for kind in _kinds(field, schema)):
                wrong.append(({name: _never(field, schema)}, name))
        if not wrong:
            pytest.skip("it takes no arguments")
        for arguments, name in wrong:
            for message in await _both(made, arguments):
                assert message.status == "error", f"{arguments} was taken"
                assert name in str(message.content), f"the message does not name {name}: {message.content}"

    async def test_a_call_that_fails_is_told_to_the_model(
        self, made: BaseTool, failing_call: Mapping[str, Any] | None
    ) -> None:
        """In a message, with words: nothing is raised at the agent."""
        if failing_call is None:
            pytest.skip(_NO_CALL.format("failing_call", "fails"))
        for message in await _both(made, failing_call):
            assert message.status == "error", message.content
            assert len(str(message.content)) >= 10
            assert "Traceback" not in str(message.content)


def _only(registration: ToolRegistration) -> Plugins:
    """Plugins that are this tool, and a language for what it runs."""
    language = Language(name="python", run=("python3", "{source}"), executables=("python3",), extensions=(".py",))
    module = SimpleNamespace(
        xagent_register_tools=hookimpl(lambda: [registration]), xagent_register_languages=hookimpl(lambda: [language])
    )
    plugins = Plugins()
    plugins.add("conformance", "xagent-core", "", lambda: module)
    return plugins


def _tool_call(tool: BaseTool, arguments: Mapping[str, Any]) -> Any:
    return {"type": "tool_call", "id": "call-1", "name": tool.name, "args": dict(arguments)}


async def _both(tool: BaseTool, arguments: Mapping[str, Any]) -> list[ToolMessage]:
    """What an asynchronous and a synchronous call give."""
    return [
        await tool.ainvoke(_tool_call(tool, arguments)),
        await asyncio.to_thread(tool.invoke, _tool_call(tool, arguments)),
    ]


def _schema(tool: BaseTool) -> Mapping[str, Any]:
    """What a model may pass, as a JSON schema."""
    # Of pydantic's old interface too, which LangChain still allows.
    schema: Any = tool.tool_call_schema
    if isinstance(schema, dict):
        return schema
    found: Mapping[str, Any] = (getattr(schema, "model_json_schema", None) or schema.schema)()
    return found


def _kinds(field: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The alternatives of a field, references resolved, and what lists and objects hold."""
    if "$ref" in field:
        yield from _kinds(schema["$defs"][field["$ref"].rpartition("/")[2]], schema)
        return
    for several in _SEVERAL:
        for kind in field.get(several, ()):
            yield from _kinds(kind, schema)
    if any(several in field for several in _SEVERAL):
        return
    yield field
    if isinstance(field.get("items"), dict):
        yield from _kinds(field["items"], schema)
    for inner in field.get("properties", {}).values():
        yield from _kinds(inner, schema)


def _described(field: Mapping[str, Any], schema: Mapping[str, Any]) -> bool:
    return bool(field.get("description")) or any(kind.get("description") for kind in _kinds(field, schema))


def _unbounded(kind: Mapping[str, Any]) -> str:
    """What keeps a kind of value from being bounded; empty where nothing does."""
    if "enum" in kind or "const" in kind or kind.get("type") in _CLOSED:
        return ""
    if kind.get("type") == "string":
        bounded = "maxLength" in kind or "pattern" in kind or "format" in kind
        return "" if bounded else "a text has no maxLength"
    if kind.get("type") == "array":
        return "" if "maxItems" in kind else "a list has no maxItems"
    if kind.get("type") in ("integer", "number"):
        low = "minimum" in kind or "exclusiveMinimum" in kind
        high = "maximum" in kind or "exclusiveMaximum" in kind
        return "" if low and high else "a number has no minimum and maximum"
    if kind.get("type") == "object":
        values = kind.get("additionalProperties")
        bounded = "properties" in kind or "maxProperties" in kind or values is False
        return "" if bounded else "an object has no maxProperties"
    return "it may be anything"


def _never(field: Mapping[str, Any], schema: Mapping[str, Any]) -> object:
    """A value that the field's type does not allow."""
    types = {kind.get("type") for kind in _kinds(field, schema)}
    return {"xagent": ["conformance"]} if "object" not in types else 3.5
