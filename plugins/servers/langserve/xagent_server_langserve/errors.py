"""What callers over HTTP are told of an error: who failed, why, and what to do."""

from __future__ import annotations

import json
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from langchain_core.tools import ToolException
from pydantic import ValidationError

from xagent_core.errors import (
    BackendError,
    InvalidRequestError,
    PolicyNotSupportedError,
    PoolTimeoutError,
    UnknownPluginError,
    XAgentError,
)

__all__ = ["document", "report_errors"]


def document(error: XAgentError | ToolException) -> dict[str, Any]:
    """An error as JSON, as the `--json` of commands has it."""
    if isinstance(error, XAgentError):
        parts = {"component": error.component, "cause": error.cause, "fix": error.fix}
    else:
        parts = {"component": "tool", "cause": str(error), "fix": ""}
    return {"type": type(error).__name__, **parts}


class _ASCII(JSONResponse):
    """JSON of texts that may not be UTF-8, such as a caller's field named by half a surrogate pair."""

    def render(self, content: Any) -> bytes:
        """JSON with all but ASCII escaped."""
        return json.dumps(content, allow_nan=False).encode("ascii")


def report_errors(app: FastAPI) -> None:
    """Has the application answer with an error's document where it would say no more than that it failed.

    What does not fit a schema is told by place and reason, without the values: they may be secrets, or no JSON.
    """

    @app.exception_handler(RequestValidationError)
    @app.exception_handler(ValidationError)
    async def report_misfit(_request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError | ValidationError)  # noqa: S101 - it is registered for these
        detail = [{name: found[name] for name in ("type", "loc", "msg")} for found in error.errors()]
        return _ASCII({"detail": detail}, status_code=422)

    @app.exception_handler(XAgentError)
    @app.exception_handler(ToolException)
    async def report(_request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, XAgentError | ToolException)  # noqa: S101 - it is registered for these
        headers = {"Retry-After": "5"} if isinstance(error, PoolTimeoutError) else None
        return _ASCII({"error": document(error)}, status_code=_status(error), headers=headers)


def _status(error: Exception) -> int:
    if isinstance(error, InvalidRequestError | UnknownPluginError | PolicyNotSupportedError | ToolException):
        return 422
    if isinstance(error, BackendError | PoolTimeoutError):
        return 503
    return 500
