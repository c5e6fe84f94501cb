"""The tool that runs code in a sandbox."""

from __future__ import annotations

import contextlib
from typing import Annotated, Any, ClassVar, Final, Literal, Self

from langchain_core.callbacks import adispatch_custom_event
from pydantic import BaseModel, BeforeValidator, Field, TypeAdapter, create_model

from xagent_core import ExecutionResult, FinishedEvent, OutputEvent, ToolContext, UnknownLanguageError
from xagent_core.agent_tool import EngineTool
from xagent_core.plugins import Plugins

__all__ = ["OUTPUT_EVENT", "ExecuteCode", "ExecuteCodeInput", "execute_code_input"]

OUTPUT_EVENT: Final = "xagent_output"
"""The custom event that tells of output as it comes: `{"stream": "stdout", "data": "...", "phase": "run"}`."""

_LONGEST_CODE: Final = 1_000_000
_MOST_SECONDS: Final = 600
_SHOWN: Final = 30_000
_RESULT: Final = TypeAdapter(ExecutionResult)


class ExecuteCodeInput(BaseModel):
    """What `execute_code` takes; the choices of `language` come with `execute_code_input`."""

    code: str = Field(
        min_length=1, max_length=_LONGEST_CODE, description="The whole program. What it prints is the output."
    )
    language: str = Field(default="python", description="The programming language of the code.")
    timeout: float = Field(
        default=30, ge=0.1, le=_MOST_SECONDS, description="Seconds that the program may take, its compilation included."
    )
    stdin: str = Field(
        default="", max_length=_LONGEST_CODE, description="What the program reads from its standard input."
    )
    # LangChain leaves an argument of the name `args` out.
    arguments: list[Annotated[str, Field(max_length=10_000)]] = Field(
        default_factory=list, max_length=100, description="The program's command-line arguments."
    )


def execute_code_input(plugins: Plugins) -> type[ExecuteCodeInput]:
    """The input schema with the installed languages as the choices of `language`.

    Aliases (`js`, `sh`) are taken too, though only the names are shown.

    Args:
        plugins: What is installed.

    Returns:
        A subclass of `ExecuteCodeInput`.

    Raises:
        UnknownLanguageError: No language is installed.
    """
    names = tuple(language.name for language in plugins.languages)
    if not names:
        raise UnknownLanguageError(
            "execute_code", "no language is installed", "Install one, such as xagent-lang-python."
        )

    def name_of(value: object) -> object:
        return plugins.languages[value].name if isinstance(value, str) and value in plugins.languages else value

    default = "python" if "python" in names else names[0]
    field = Field(default=default, description="The programming language of the code.")
    choices = Annotated[Literal[names], BeforeValidator(name_of)]  # type: ignore[valid-type] # known at run time
    return create_model("ExecuteCodeInput", __base__=ExecuteCodeInput, language=(choices, field))


class ExecuteCode(EngineTool):
    """Runs a program in a fresh sandbox.

    The model gets status, output, error, exit_code, execution_time and, where there is any, what else it should know.
    The artifact is the whole `ExecutionResult` in its JSON form. Output is passed on as it comes, in custom events
    named `xagent_output`.
    """

    name: str = "execute_code"
    description: str = (
        "Run a program in a fresh, isolated sandbox: no network, limited memory and time, the standard library only "
        "unless more happens to be installed. Print what you want to see. Returns status (success, error, timeout, "
        "out_of_memory, output_limit, killed), output (stdout), error (stderr), exit_code and execution_time."
    )
    response_format: Literal["content", "content_and_artifact"] = "content_and_artifact"
    args_schema: Any = ExecuteCodeInput

    # Where the result is text for a model, more would only push other things out of its context.
    shown: ClassVar[int] = _SHOWN

    @classmethod
    def of(cls, context: ToolContext) -> Self:
        """The tool for an engine and the languages that are installed there."""
        return cls(engine=context.engine, args_schema=execute_code_input(context.engine.plugins))

    async def work(
        self,
        *,
        code: str,
        language: str,
        timeout: float,  # noqa: ASYNC109 - the sandbox holds it
        stdin: str,
        arguments: list[str],
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Runs the program; what the model gets, and the artifact."""
        events = self.engine.stream(code, language=language, timeout=timeout, stdin=stdin, args=arguments)
        async with contextlib.aclosing(events):
            async for event in events:
                if isinstance(event, OutputEvent) and event.data:
                    data = {"stream": event.stream, "data": event.data, "phase": event.phase}
                    await adispatch_custom_event(OUTPUT_EVENT, data)
                elif isinstance(event, FinishedEvent):
                    result = event.result
        return self._shown(result), _RESULT.dump_python(result, mode="json")

    def _shown(self, result: ExecutionResult) -> dict[str, Any]:
        shown: dict[str, Any] = {
            "status": result.status,
            "output": _middle_out(result.output, self.shown),
            "error": _middle_out(result.error, self.shown),
            "exit_code": result.exit_code,
            "execution_time": round(result.execution_time, 3),
            "language": result.language,
        }
        if result.phase == "build":
            shown["phase"] = "build"
        if result.output_truncated or result.error_truncated:
            shown["notice"] = "The program was stopped: it wrote more than the output limit."
        return shown


def _middle_out(text: str, most: int) -> str:
    """A long text without its middle: programs tell what they do first, and what went wrong last."""
    if len(text) <= most:
        return text
    half = most // 2
    return f"{text[:half]}\n[... {len(text) - 2 * half} characters left out ...]\n{text[-half:]}"
