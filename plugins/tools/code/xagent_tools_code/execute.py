"""The tool that runs code in a sandbox."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import Annotated, Any, Final, Literal, Self

from langchain_core.callbacks import adispatch_custom_event
from pydantic import BaseModel, BeforeValidator, Field, SkipValidation, TypeAdapter, create_model

from xagent_core import (
    ExecutionRequest,
    ExecutionResult,
    FinishedEvent,
    ToolContext,
    UnknownLanguageError,
    Workspace,
)
from xagent_core.agent_tool import OUTPUT_EVENT, EngineTool
from xagent_core.bridge import in_thread
from xagent_core.plugins import Plugins
from xagent_core.request import make_request
from xagent_tools_code.carry import Changes, Load, bring_back, changes_of, limits_for, pack

__all__ = ["OUTPUT_EVENT", "ExecuteCode", "ExecuteCodeInput", "execute_code_input"]

_LONGEST_CODE: Final = 1_000_000
_MOST_SECONDS: Final = 600
# More would only push other things out of a model's context.
_SHOWN: Final = 30_000
_DESCRIPTION: Final = (
    "Run a program in a fresh, isolated sandbox: no network, limited memory and time, the standard library only "
    "unless more happens to be installed. Print what you want to see. Returns status (success, error, timeout, "
    "out_of_memory, output_limit, killed), output (stdout), error (stderr), exit_code, execution_time, and the files "
    "that the program wrote. "
)
_WITH_WORKSPACE: Final = (
    "The files of the workspace are in its working directory, and what it writes, changes or removes there is kept "
    "for the next call, unless it is stopped (a timeout, the output limit). Never kept are names that begin with a "
    "dot, node_modules, links, empty folders and the modes of files. Nothing else lives from call to call."
)
_WITHOUT_WORKSPACE: Final = "Nothing lives from call to call."
_MISSING: Final = "Not all files could be kept: they are too large together, or could not be read."
_STOPPED: Final = "The program was stopped: what it wrote, changed or removed was not kept."
_RESULT: Final = TypeAdapter(ExecutionResult)
_EVERYTHING: Final = "**"


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
    The artifact is the whole `ExecutionResult` in its JSON form, its `files` being those that the program made or
    changed. Output is passed on as it comes, in custom events named `xagent_output`.

    With a workspace, the program finds the workspace's files in its working directory, and what it changes there is
    kept for the next call.
    """

    name: str = "execute_code"
    description: str = ""
    response_format: Literal["content", "content_and_artifact"] = "content_and_artifact"
    args_schema: Any = ExecuteCodeInput
    workspace: SkipValidation[Workspace | None] = Field(default=None, exclude=True, repr=False)

    @classmethod
    def of(cls, context: ToolContext) -> Self:
        """The tool for an engine, the languages that are installed there, and a workspace."""
        files = _WITH_WORKSPACE if context.workspace else _WITHOUT_WORKSPACE
        return cls(
            engine=context.engine,
            args_schema=execute_code_input(context.engine.plugins),
            description=_DESCRIPTION + files,
            workspace=context.workspace,
        )

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
        request = make_request(
            code, language=language, timeout=timeout, stdin=stdin, args=arguments, collect=[_EVERYTHING]
        )
        planned = self.engine.plan(request)
        load = Load()
        if self.workspace:
            load = await in_thread(pack, self.workspace, source_name=planned.program.source_name)
            limits = request.limits.over(limits_for(planned, load))
            request = replace(request, files=load.files, limits=limits)
        result = await self._run_request(request)
        if self.workspace:
            changes = await in_thread(bring_back, self.workspace, load, result, program=planned.program)
        else:
            changes = changes_of(load, result, program=planned.program)
        artifact = _RESULT.dump_python(replace(result, files=changes.written), mode="json")
        return _shown(result, load, changes), artifact

    async def _run_request(self, request: ExecutionRequest) -> ExecutionResult:
        async with contextlib.aclosing(self.engine.stream(request)) as events:
            async for event in events:
                if isinstance(event, FinishedEvent):
                    return event.result
                if event.data:
                    data = {"stream": event.stream, "data": event.data, "phase": event.phase}
                    await adispatch_custom_event(OUTPUT_EVENT, data)
        raise AssertionError("unreachable: an execution ends with a FinishedEvent")


def _shown(result: ExecutionResult, load: Load, changes: Changes) -> dict[str, Any]:
    """What the model gets."""
    shown: dict[str, Any] = {
        "status": result.status,
        "output": _middle_out(result.output),
        "error": _middle_out(result.error),
        "exit_code": result.exit_code,
        "execution_time": round(result.execution_time, 3),
        "language": result.language,
    }
    if result.phase == "build":
        shown["phase"] = "build"
    if changes.written:
        shown["files"] = [{"path": file.path, "size": len(file.content)} for file in changes.written]
    if changes.removed:
        shown["removed"] = list(changes.removed)
    notices = [*load.notices, *changes.notices]
    # A program that never began has no files to bring back.
    if result.files_truncated and result.phase == "run":
        notices.append(_MISSING if result.files or result.status in ("success", "error") else _STOPPED)
    if result.output_truncated or result.error_truncated:
        notices.append("The program was stopped: it wrote more than the output limit.")
    if notices:
        shown["notice"] = " ".join(notices)
    return shown


def _middle_out(text: str) -> str:
    """A long text without its middle: programs tell what they do first, and what went wrong last."""
    if len(text) <= _SHOWN:
        return text
    half = _SHOWN // 2
    return f"{text[:half]}\n[... {len(text) - 2 * half} characters left out ...]\n{text[-half:]}"
