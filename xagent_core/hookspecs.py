"""Every hook that a plugin can implement: the whole plugin interface on one page.

A plugin is a module that an entry point of the group `xagent` names. It implements any of these functions,
each marked with `@hookimpl`. Registering hooks are called once, when plugins are loaded, and must be cheap: what
is heavy belongs into the factories. A hook that raises is reported with its distribution and breaks no other plugin.
"""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from typing import Final

import pluggy

from xagent_core.abc.backend import BackendRegistration
from xagent_core.abc.command import CommandRegistration
from xagent_core.abc.language import Language
from xagent_core.abc.queue import Job, QueueRegistration, ScalingDecision, ToolCall, WorkerInfo
from xagent_core.abc.search import SearchProviderRegistration
from xagent_core.abc.tool import ToolRegistration
from xagent_core.stats import PoolStats
from xagent_core.types import ExecutionRequest, ExecutionResult

__all__ = ["API_VERSIONS", "GROUP", "hookimpl"]

GROUP: Final = "xagent"
"""The entry-point group, and the name of the pluggy project."""

API_VERSIONS: Final = frozenset({1})
"""The versions of this page that registrations may have been written for."""

hookspec = pluggy.HookspecMarker(GROUP)
hookimpl = pluggy.HookimplMarker(GROUP)


@hookspec
def xagent_register_backends() -> Sequence[BackendRegistration]:  # type: ignore[empty-body]
    """Sandbox backends that this plugin provides."""


@hookspec
def xagent_register_languages() -> Sequence[Language]:  # type: ignore[empty-body]
    """Languages that this plugin provides."""


@hookspec
def xagent_register_tools() -> Sequence[ToolRegistration]:  # type: ignore[empty-body]
    """Agent tools that this plugin provides."""


@hookspec
def xagent_register_queues() -> Sequence[QueueRegistration]:  # type: ignore[empty-body]
    """Task queues that this plugin provides."""


@hookspec
def xagent_register_search_providers() -> Sequence[SearchProviderRegistration]:  # type: ignore[empty-body]
    """What an agent's search of the web can ask, that this plugin provides."""


@hookspec
def xagent_register_commands() -> Sequence[CommandRegistration]:  # type: ignore[empty-body]
    """Commands that this plugin adds to the `xagent` command line."""


@hookspec
def xagent_before_execute(request: ExecutionRequest, backend: str) -> None:
    """Observes a request that is about to run on `backend`; its language has its own name, and no alias.

    It is called in the event loop and must not block. What it raises is logged and changes nothing.
    """


@hookspec
def xagent_after_execute(
    request: ExecutionRequest, backend: str, result: ExecutionResult | None, error: BaseException | None
) -> None:
    """Observes what became of a request: a result, or else the error that the caller gets.

    It is called in the event loop and must not block. What it raises is logged and changes nothing.
    """


@hookspec
def xagent_pool_changed(backend: str, stats: PoolStats) -> None:
    """Observes the sandboxes of an engine: how many are ready, running, waited for after something changed.

    What changes in one turn of the event loop is told once. It is called in the event loop and must not block. What
    it raises is logged and changes nothing.
    """


@hookspec
def xagent_process_started(command: str) -> None:
    """Observes a command that runs until it is told to stop, such as `worker`, before it does anything.

    Its logging is set up: the place to change the format of logs, or to open what metrics are read from.
    """


@hookspec
def xagent_job_submitting(request: ExecutionRequest | ToolCall, queue: str, headers: MutableMapping[str, str]) -> None:
    """Observes a job that is about to be submitted, and may put what goes with it into `headers`.

    They come back as `Job.headers` wherever the job does: the place for a trace's context.
    """


@hookspec
def xagent_job_submitted(job: Job) -> None:
    """Observes, in the submitter, a job that is in the books."""


@hookspec
def xagent_job_started(job: Job, worker: str) -> None:
    """Observes, in the worker, an attempt that begins: it is number `job.attempt`.

    `xagent_core.queueing.observing.current_job` holds the job while it is executed, for observers of executions.
    """


@hookspec
def xagent_job_retried(job: Job) -> None:
    """Observes an attempt that failed, as `job.failure` says; the next begins at `job.ready` at the earliest.

    It is called where that is decided: in the attempt's worker, or in another when that one was lost.
    """


@hookspec
def xagent_job_ended(job: Job) -> None:
    """Observes a job that is finished, dead or cancelled; once for each time that it ends."""


@hookspec
def xagent_worker_started(worker: WorkerInfo) -> None:
    """Observes, in its own process, a worker that begins to take jobs."""


@hookspec
def xagent_worker_stopped(worker: WorkerInfo) -> None:
    """Observes, in its own process, a worker that has drained."""


@hookspec
def xagent_scaled(decision: ScalingDecision) -> None:
    """Observes, in the scaler's process, a decision to have more or fewer workers."""
