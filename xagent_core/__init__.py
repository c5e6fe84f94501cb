"""xagent runs code that nobody trusts: sandbox backends, languages and agent tools as plugins.

The public names are imported when they are first used, so that `import xagent_core` costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from xagent_core.abc.backend import Backend as Backend
    from xagent_core.abc.backend import BackendRegistration as BackendRegistration
    from xagent_core.abc.backend import Capabilities as Capabilities
    from xagent_core.abc.backend import Probe as Probe
    from xagent_core.abc.backend import Sandbox as Sandbox
    from xagent_core.abc.backend import SandboxExit as SandboxExit
    from xagent_core.abc.backend import SandboxSpec as SandboxSpec
    from xagent_core.abc.command import CommandRegistration as CommandRegistration
    from xagent_core.abc.language import Kernel as Kernel
    from xagent_core.abc.language import Language as Language
    from xagent_core.abc.language import Needs as Needs
    from xagent_core.abc.language import Packages as Packages
    from xagent_core.abc.language import Program as Program
    from xagent_core.abc.queue import Carrier as Carrier
    from xagent_core.abc.queue import Delivery as Delivery
    from xagent_core.abc.queue import Job as Job
    from xagent_core.abc.queue import JobEvent as JobEvent
    from xagent_core.abc.queue import JobFailure as JobFailure
    from xagent_core.abc.queue import JobState as JobState
    from xagent_core.abc.queue import QueueDepth as QueueDepth
    from xagent_core.abc.queue import QueueRegistration as QueueRegistration
    from xagent_core.abc.queue import QueueStats as QueueStats
    from xagent_core.abc.queue import ScalingDecision as ScalingDecision
    from xagent_core.abc.queue import ToolCall as ToolCall
    from xagent_core.abc.queue import ToolResult as ToolResult
    from xagent_core.abc.queue import WorkerInfo as WorkerInfo
    from xagent_core.abc.search import SearchHit as SearchHit
    from xagent_core.abc.search import SearchProvider as SearchProvider
    from xagent_core.abc.search import SearchProviderRegistration as SearchProviderRegistration
    from xagent_core.abc.search import SearchQuery as SearchQuery
    from xagent_core.abc.tool import ToolContext as ToolContext
    from xagent_core.abc.tool import ToolRegistration as ToolRegistration
    from xagent_core.config import PoolConfig as PoolConfig
    from xagent_core.config import Settings as Settings
    from xagent_core.config import load_settings as load_settings
    from xagent_core.engine import Engine as Engine
    from xagent_core.engine import run as run
    from xagent_core.errors import BackendError as BackendError
    from xagent_core.errors import BackendPermissionError as BackendPermissionError
    from xagent_core.errors import BackendUnavailableError as BackendUnavailableError
    from xagent_core.errors import ConfigError as ConfigError
    from xagent_core.errors import DuplicatePluginError as DuplicatePluginError
    from xagent_core.errors import ImageNotFoundError as ImageNotFoundError
    from xagent_core.errors import InvalidRequestError as InvalidRequestError
    from xagent_core.errors import JobCancelledError as JobCancelledError
    from xagent_core.errors import JobDeadError as JobDeadError
    from xagent_core.errors import JobNotFoundError as JobNotFoundError
    from xagent_core.errors import PluginError as PluginError
    from xagent_core.errors import PolicyNotSupportedError as PolicyNotSupportedError
    from xagent_core.errors import PoolTimeoutError as PoolTimeoutError
    from xagent_core.errors import QueueError as QueueError
    from xagent_core.errors import QueueUnavailableError as QueueUnavailableError
    from xagent_core.errors import SandboxLostError as SandboxLostError
    from xagent_core.errors import SandboxStartError as SandboxStartError
    from xagent_core.errors import SessionClosedError as SessionClosedError
    from xagent_core.errors import UnknownLanguageError as UnknownLanguageError
    from xagent_core.errors import UnknownPluginError as UnknownPluginError
    from xagent_core.errors import WorkerLostError as WorkerLostError
    from xagent_core.errors import XAgentError as XAgentError
    from xagent_core.hookspecs import hookimpl as hookimpl
    from xagent_core.plugins import load_plugins as load_plugins
    from xagent_core.queueing.queue import TaskQueue as TaskQueue
    from xagent_core.queueing.retry import RetryPolicy as RetryPolicy
    from xagent_core.queueing.selection import get_queue as get_queue
    from xagent_core.queueing.worker import Worker as Worker
    from xagent_core.selection import get_backend as get_backend
    from xagent_core.session import Session as Session
    from xagent_core.stats import PoolStats as PoolStats
    from xagent_core.toolbox import get_tools as get_tools
    from xagent_core.toolbox import open_tools as open_tools
    from xagent_core.types import ExecutionRequest as ExecutionRequest
    from xagent_core.types import ExecutionResult as ExecutionResult
    from xagent_core.types import FinishedEvent as FinishedEvent
    from xagent_core.types import InputFile as InputFile
    from xagent_core.types import Limits as Limits
    from xagent_core.types import NetworkPolicy as NetworkPolicy
    from xagent_core.types import OutputEvent as OutputEvent
    from xagent_core.types import OutputFile as OutputFile
    from xagent_core.types import parse_size as parse_size
    from xagent_core.workspace import Workspace as Workspace

_HOMES: Final = {
    "abc.backend": "Backend BackendRegistration Capabilities Probe Sandbox SandboxExit SandboxSpec",
    "abc.command": "CommandRegistration",
    "abc.language": "Kernel Language Needs Packages Program",
    "abc.search": "SearchHit SearchProvider SearchProviderRegistration SearchQuery",
    "abc.queue": (
        "Carrier Delivery Job JobEvent JobFailure JobState QueueDepth QueueRegistration QueueStats ScalingDecision "
        "ToolCall ToolResult WorkerInfo"
    ),
    "abc.tool": "ToolContext ToolRegistration",
    "config": "PoolConfig Settings load_settings",
    "engine": "Engine run",
    "errors": (
        "BackendError BackendPermissionError BackendUnavailableError ConfigError DuplicatePluginError "
        "ImageNotFoundError InvalidRequestError JobCancelledError JobDeadError JobNotFoundError PluginError "
        "PolicyNotSupportedError PoolTimeoutError QueueError QueueUnavailableError SandboxLostError SandboxStartError "
        "SessionClosedError UnknownLanguageError UnknownPluginError WorkerLostError XAgentError"
    ),
    "hookspecs": "hookimpl",
    "plugins": "load_plugins",
    "queueing.queue": "TaskQueue",
    "queueing.retry": "RetryPolicy",
    "queueing.selection": "get_queue",
    "queueing.worker": "Worker",
    "selection": "get_backend",
    "session": "Session",
    "stats": "PoolStats",
    "toolbox": "get_tools open_tools",
    "types": (
        "ExecutionRequest ExecutionResult FinishedEvent InputFile Limits NetworkPolicy OutputEvent OutputFile "
        "parse_size"
    ),
    "workspace": "Workspace",
}
_HOME_OF: Final = {name: module for module, names in _HOMES.items() for name in names.split()}

__version__ = "0.1.0"
__all__ = sorted(_HOME_OF)  # noqa: PLE0605 - the names are those of the table above


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*globals(), *_HOME_OF]
