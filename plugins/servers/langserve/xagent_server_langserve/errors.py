"""What callers over HTTP are told of an error: who failed, why, and what to do."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from langchain_core.tools import ToolException

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


def report_errors(app: FastAPI) -> None:
    """Has the application answer with an error's document where it would say no more than that it failed."""

    @app.exception_handler(XAgentError)
    @app.exception_handler(ToolException)
    async def report(_request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, XAgentError | ToolException)  # noqa: S101 - it is registered for these
        headers = {"Retry-After": "5"} if isinstance(error, PoolTimeoutError) else None
        return JSONResponse({"error": document(error)}, status_code=_status(error), headers=headers)


def _status(error: Exception) -> int:
    if isinstance(error, InvalidRequestError | UnknownPluginError | PolicyNotSupportedError | ToolException):
        return 422
    if isinstance(error, BackendError | PoolTimeoutError):
        return 503
    return 500
