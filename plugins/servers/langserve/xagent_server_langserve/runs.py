"""What the page asks for: what is there, what is healthy, and a program run with its output as it comes."""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import AsyncGenerator
from typing import Annotated, Any, Final

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from xagent_core import ExecutionRequest, ExecutionResult, InputFile, InvalidRequestError, OutputEvent, __version__
from xagent_core.abc.language import Language
from xagent_core.engine import Engine
from xagent_core.errors import XAgentError
from xagent_core.request import make_request
from xagent_core.types import GIB, MIB
from xagent_server_langserve.engines import Engines
from xagent_server_langserve.errors import document

__all__ = ["MOST_MEMORY", "MOST_SECONDS", "run_routes"]

MOST_SECONDS: Final = 600
MOST_MEMORY: Final = 4 * GIB
"""What a page may ask for; a caller of the tools has the tools' own bounds."""

_LONGEST: Final = 1_000_000
_RESULT: Final = TypeAdapter(ExecutionResult)
Short = Annotated[str, Field(max_length=10_000)]


class _File(BaseModel):
    path: Short
    content: str = Field(max_length=14 * MIB, description="Base64.")


class RunRequest(BaseModel):
    """One program to run."""

    model_config = ConfigDict(extra="forbid")

    code: str = Field(max_length=_LONGEST)
    language: str = Field(default="python", max_length=100)
    backend: str | None = Field(default=None, max_length=100, description="By default the server's own.")
    timeout: float | None = Field(default=None, ge=0.1, le=MOST_SECONDS, description="Seconds.")
    memory: int | None = Field(default=None, ge=6 * MIB, le=MOST_MEMORY, description="Bytes.")
    stdin: str = Field(default="", max_length=_LONGEST)
    args: list[Short] = Field(default_factory=list, max_length=100)
    files: list[_File] = Field(default_factory=list, max_length=100)
    collect: list[Short] = Field(default_factory=list, max_length=20, description="Patterns of files to bring back.")

    def request(self) -> ExecutionRequest:
        """The engine's own form.

        Raises:
            InvalidRequestError: It could run nowhere.
        """
        try:
            files = [InputFile(file.path, base64.b64decode(file.content, validate=True)) for file in self.files]
        except ValueError as error:  # binascii.Error is one, and letters beyond ASCII are another
            raise InvalidRequestError("request", f"a file's content is not base64: {error}") from error
        return make_request(
            self.code,
            language=self.language,
            timeout=self.timeout,
            memory_limit=self.memory,
            stdin=self.stdin,
            args=self.args,
            files=files,
            collect=self.collect,
        )


def run_routes(engines: Engines, *, tools: list[str], logs_in: bool) -> APIRouter:
    """The routes below `/api`, and those by which others see whether the server is alive.

    Args:
        engines: Run the programs.
        tools: Names of what is served beside.
        logs_in: Whether a page can log out again.
    """
    router = APIRouter()

    @router.head("/healthz", include_in_schema=False)
    @router.get("/healthz")
    async def healthz() -> dict[str, str]:
        """Whether the server answers at all."""
        return {"status": "ok"}

    @router.head("/readyz", include_in_schema=False)
    @router.get("/readyz")
    async def readyz() -> JSONResponse:
        """Whether its backend answers too. Why it does not is for those who are let in: see `/api/backends`."""
        trouble = await engines.trouble()
        return JSONResponse({"status": "unavailable" if trouble else "ok"}, status_code=503 if trouble else 200)

    @router.get("/api/info")
    async def info() -> dict[str, Any]:
        """What can be run here, and within which limits."""
        return {
            "version": __version__,
            "backend": engines.first.backend.name,
            "backends": [backend.name for backend in engines.plugins.backends],
            "languages": [_language(engines.first, language) for language in engines.plugins.languages],
            "tools": tools,
            "most": {"timeout": MOST_SECONDS, "memory": MOST_MEMORY},
            "logs_in": logs_in,
        }

    @router.get("/api/backends")
    async def backends() -> list[dict[str, Any]]:
        """What every backend says of itself."""
        return await engines.health()

    @router.post("/api/run")
    async def run(body: RunRequest) -> Response:
        """Runs a program. The answer is a line of JSON for each event, as it happens."""
        engine = await engines.get(body.backend)
        request = body.request()
        engine.plan(request)  # what is wrong with it is an error of its own, not the first line of an answer
        return StreamingResponse(
            _lines(engine, request), media_type="application/x-ndjson", headers={"X-Accel-Buffering": "no"}
        )

    return router


def _language(engine: Engine, language: Language) -> dict[str, Any]:
    planned = engine.plan(ExecutionRequest(code="", language=language.name))
    return {
        "name": language.name,
        "extensions": language.extensions,
        "hello": language.hello,
        "limits": {
            "timeout": planned.limits.timeout,
            "memory": planned.spec.memory,
            "cpus": planned.spec.cpus,
            "processes": planned.spec.processes,
            "scratch": planned.spec.scratch,
            "output": planned.limits.output,
            "collect": planned.limits.collect,
        },
        "unenforced": planned.spec.unenforced,
    }


async def _lines(engine: Engine, request: ExecutionRequest) -> AsyncGenerator[str]:
    """The events of one execution; a caller who leaves ends it."""
    try:
        async with contextlib.aclosing(engine.stream(request)) as events:
            async for event in events:
                if isinstance(event, OutputEvent):
                    output = {"stream": event.stream, "data": event.data, "phase": event.phase}
                    shown: dict[str, Any] = {"event": "output", **output}
                else:
                    result = _RESULT.dump_python(event.result, mode="json")
                    # The caller has it already.
                    shown = {"event": "finished", "result": {**result, "output": None, "error": None}}
                yield json.dumps(shown) + "\n"
    except XAgentError as error:
        yield json.dumps({"event": "error", "error": document(error)}) + "\n"
