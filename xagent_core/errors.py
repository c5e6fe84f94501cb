"""Every exception that xagent raises, drawn as a tree.

A failing *program* is never an exception: it is an `ExecutionResult`. Everything here means that xagent, a
plugin, or an engine could not do what was asked.

    XAgentError
    +-- ConfigError                  a setting in a file or the environment cannot be used
    +-- InvalidRequestError          the request could not run on any backend
    |   +-- UnknownLanguageError     no installed language has that name
    |   +-- JobNotFoundError         the queue's books have no such job
    +-- PluginError                  something is wrong with what is installed
    |   +-- UnknownPluginError       no installed plugin provides that name
    |   +-- DuplicatePluginError     two distributions provide the same name
    +-- PolicyNotSupportedError      the backend cannot enforce what was asked
    +-- BackendError                 the sandbox provider failed
    |   +-- BackendUnavailableError  nothing answers: daemon not running, program missing
    |   |   +-- BackendPermissionError   it is there, and refuses this user
    |   +-- ImageNotFoundError       the image is neither here nor can it be pulled
    |   +-- SandboxStartError        this sandbox could not be made
    |   +-- SandboxLostError         the sandbox was lost in the middle of a job
    +-- PoolTimeoutError             no sandbox became free in time
    +-- SessionClosedError           the session has ended
    +-- QueueError                   the task queue could not do what was asked
        +-- QueueUnavailableError    its server does not answer
        +-- WorkerLostError          the worker was lost in the middle of a job
        +-- JobDeadError             the job could not be run: it is a dead letter
        +-- JobCancelledError        the job was cancelled, and has no result
"""

from __future__ import annotations

from typing import Literal

__all__ = [
    "BackendError",
    "BackendPermissionError",
    "BackendUnavailableError",
    "ConfigError",
    "DuplicatePluginError",
    "ImageNotFoundError",
    "InvalidRequestError",
    "JobCancelledError",
    "JobDeadError",
    "JobNotFoundError",
    "PluginError",
    "PolicyNotSupportedError",
    "PoolTimeoutError",
    "QueueError",
    "QueueUnavailableError",
    "SandboxLostError",
    "SandboxStartError",
    "SessionClosedError",
    "UnknownLanguageError",
    "UnknownPluginError",
    "WorkerLostError",
    "XAgentError",
]


class XAgentError(Exception):
    """Base of every error of xagent.

    Args:
        component: Who failed, as a user knows it: `docker`, `engine`, `plugin xagent-lang-go`.
        cause: What went wrong, in one sentence without a final full stop.
        fix: What the reader can do about it; empty where nothing sensible can be said.
    """

    def __init__(self, component: str, cause: str, fix: str = "") -> None:
        super().__init__(component, cause, fix)
        self.component = component
        self.cause = cause
        self.fix = fix

    def __str__(self) -> str:
        text = f"{self.component}: {self.cause}"
        if not self.fix:
            return text
        # A cause may end in somebody else's words, and so with a full stop or a question of theirs.
        return f"{text} {self.fix}" if text.endswith((".", "?", "!")) else f"{text}. {self.fix}"


class ConfigError(XAgentError):
    """A setting in the configuration file or the environment cannot be used."""


class InvalidRequestError(XAgentError):
    """The request is wrong in itself: no backend could run it."""


class UnknownLanguageError(InvalidRequestError):
    """No installed plugin provides the language."""


class PluginError(XAgentError):
    """Something is wrong with an installed plugin."""


class UnknownPluginError(PluginError):
    """No installed plugin provides that backend, tool, queue or command."""


class DuplicatePluginError(PluginError):
    """Two distributions provide the same name; neither is used until one is switched off."""


class PolicyNotSupportedError(XAgentError):
    """The backend cannot enforce a limit or a policy that the caller asked for.

    The request is refused: nothing ever runs under a weaker policy than the one asked for.
    """


class BackendError(XAgentError):
    """The provider of sandboxes failed; `component` is the backend's name."""


class BackendUnavailableError(BackendError):
    """The engine does not answer, or the program that makes sandboxes is not installed."""


class BackendPermissionError(BackendUnavailableError):
    """The engine is there, but this user may not use it."""


class ImageNotFoundError(BackendError):
    """The image is not present and could not be pulled."""


class SandboxStartError(BackendError):
    """The engine answered, but could not make this sandbox."""


class SandboxLostError(BackendError):
    """The sandbox was lost in the middle of a job: the engine died, or its connection broke.

    Args:
        component: The backend's name.
        cause: What was seen.
        fix: What to do.
        code_ran: `no` when the job had not been handed over, so that running it again is safe; `maybe` when it
            had been and nobody can tell how far it came.
    """

    def __init__(
        self, component: str, cause: str, fix: str = "", *, code_ran: Literal["no", "maybe"] = "maybe"
    ) -> None:
        super().__init__(component, cause, fix)
        self.code_ran = code_ran


class PoolTimeoutError(XAgentError):
    """No sandbox became free within the time that a caller is willing to wait."""


class SessionClosedError(XAgentError):
    """The session was closed, or its sandbox has ended."""


class JobNotFoundError(InvalidRequestError):
    """The queue's books have no job of that id: it never was, or it ended so long ago that it is forgotten."""


class QueueError(XAgentError):
    """The task queue could not do what was asked; `component` is the queue's name, or the job."""


class QueueUnavailableError(QueueError):
    """The queue's server does not answer."""


class WorkerLostError(QueueError):
    """The worker was lost in the middle of a job, and nobody can tell how far it came."""


class JobDeadError(QueueError):
    """The job is a dead letter: it could not be run, or must not be run again. It can be requeued."""


class JobCancelledError(QueueError):
    """The job was cancelled, and has no result."""
