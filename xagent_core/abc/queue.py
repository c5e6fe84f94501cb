"""The contract of a task queue: the values that callers and observers see, and the carrier that a plugin writes.

A queue is two parts. The *books* (`xagent_core.queueing`) hold what is known of every job, and are core's: states,
attempts, leases, events, retries, dead letters. A *carrier* is a plugin's, over an existing engine: it brings the
ids of jobs to workers, as often as it takes. A message that is lost or comes twice changes nothing in the books.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from xagent_core.errors import InvalidRequestError
from xagent_core.types import ExecutionRequest, ExecutionResult, OutputEvent

if TYPE_CHECKING:
    from xagent_core.queueing.store import Store

__all__ = [
    "Carrier",
    "Delivery",
    "Job",
    "JobEvent",
    "JobFailure",
    "JobState",
    "QueueDepth",
    "QueueRegistration",
    "QueueStats",
    "ScalingDecision",
    "ToolCall",
    "ToolResult",
    "WorkerInfo",
]

JobState = Literal["queued", "running", "finished", "dead", "cancelled"]
"""`finished` has a result, also that of a program or tool that failed; `dead` is a dead letter: it could not be run."""

Delivery = Callable[[str, str], Awaitable[None]]
"""What a carrier calls with a job's id and its named queue. When it returns, the message may be acknowledged."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ToolCall:
    """One call of an agent's tool.

    Attributes:
        name: The tool's name, as a model sees it.
        arguments: Its arguments: values that JSON has.

    Raises:
        InvalidRequestError: There is no name, or the arguments are no JSON object.
    """

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name or not isinstance(self.arguments, Mapping):
            raise InvalidRequestError("tool call", "it has a tool's name, and arguments by name")
        object.__setattr__(self, "arguments", _plain(dict(self.arguments), f"tool {self.name}", "its arguments"))


@dataclass(frozen=True, kw_only=True, slots=True)
class ToolResult:
    """What came of a tool's call.

    Attributes:
        content: What a model gets: text, or a list of content blocks.
        artifact: What a program gets beside it, if anything: values that JSON has.
        status: `error` where the tool said that it failed, or its arguments are invalid.

    Raises:
        InvalidRequestError: The content or the artifact cannot be JSON.
    """

    content: str | list[Any]
    artifact: Any = None
    status: Literal["success", "error"] = "success"

    def __post_init__(self) -> None:
        for name in ("content", "artifact"):
            object.__setattr__(self, name, _plain(getattr(self, name), "tool", f"the {name} of its result"))


def _plain(value: Any, component: str, what: str) -> Any:
    """The value as JSON will bring it to the other side; the caller's own cannot change it any more."""
    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidRequestError(component, f"{what} cannot be JSON: {error}") from error


@dataclass(frozen=True, kw_only=True, slots=True)
class JobFailure:
    """Why an attempt, or a job, could not be run.

    Attributes:
        type: The error's class.
        component: Who failed.
        cause: What went wrong.
        fix: What can be done about it.
        code_ran: `no` where the code cannot have run, so that running it again is safe; else `maybe`.
    """

    type: str
    component: str
    cause: str
    fix: str = ""
    code_ran: Literal["no", "maybe"] = "maybe"


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """One job as the books have it.

    Attributes:
        id: Names it.
        queue: The named queue that it waits in.
        state: Where it stands.
        request: What is to run; None where it cannot be read.
        attempt: How often it was begun; 0 before its first start.
        attempts: How often it may be begun before it is a dead letter.
        idempotent: Whether the caller said that it may run more than once.
        key: The idempotency key, if any.
        headers: What the caller attached, such as a trace's context.
        created: When it was submitted, in seconds since the epoch, as all times here.
        ready: When it may start at the earliest; after a retry, when it may start again.
        started: When its last attempt began.
        ended: When it ended.
        worker: Who ran it last.
        result: The result, once it is finished.
        failure: Why its last attempt could not be run.
        unreadable: What of it this version of xagent cannot read, since another has written it; else empty.
    """

    id: str
    queue: str
    state: JobState
    request: ExecutionRequest | ToolCall | None
    attempt: int = 0
    attempts: int = 1
    idempotent: bool = False
    key: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    created: float = 0.0
    ready: float = 0.0
    started: float | None = None
    ended: float | None = None
    worker: str | None = None
    result: ExecutionResult | ToolResult | None = None
    failure: JobFailure | None = None
    unreadable: str = ""

    __pydantic_config__: ClassVar[Any] = {"ser_json_bytes": "base64", "val_json_bytes": "base64"}

    @property
    def runs(self) -> tuple[str, str]:
        """What it is, and of which name: `("language", "python")`, or `("tool", "web_search")`."""
        request = self.request
        if request is None:
            return "request", "unreadable"
        return ("tool", request.name) if isinstance(request, ToolCall) else ("language", request.language)

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self.state in ("finished", "dead", "cancelled")


@dataclass(frozen=True, kw_only=True, slots=True)
class JobEvent:
    """Something that happened to a job. Events are numbered from 1 without gaps, across attempts.

    Attributes:
        sequence: The number, to resume from.
        time: When, in seconds since the epoch.
        attempt: In which attempt; 0 before the first.
        kind: `queued` (also when a dead letter is requeued), `started`, `output`, `retry`, `ended`.
        output: With `output`: what the program wrote.
        detail: With the others: `worker`, `delay` in seconds, `state`, `cause`, where they apply.
    """

    sequence: int
    time: float
    attempt: int
    kind: Literal["queued", "started", "output", "retry", "ended"]
    output: OutputEvent | None = None
    detail: Mapping[str, str] = field(default_factory=dict)

    __pydantic_config__: ClassVar[Any] = {"ser_json_bytes": "base64", "val_json_bytes": "base64"}


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerInfo:
    """A worker that is alive.

    Attributes:
        id: Names it.
        host: Its machine.
        pid: Its process there.
        queues: The named queues that it serves, the most urgent first.
        slots: Jobs that it runs at once.
        busy: Jobs that it runs now.
        backend: Its sandbox backend.
        draining: Whether it takes no further jobs.
        started: When, in seconds since the epoch.
    """

    id: str
    host: str
    pid: int
    queues: tuple[str, ...]
    slots: int
    busy: int
    backend: str
    draining: bool
    started: float


@dataclass(frozen=True, kw_only=True, slots=True)
class QueueDepth:
    """One named queue.

    Attributes:
        waiting: Jobs that could start now.
        delayed: Jobs that are to start later, retries included.
        running: Jobs that run.
        dead: Dead letters.
        oldest_age: Seconds that the oldest waiting job could have started for; 0 where none waits.
        totals: How many jobs were `submitted`, have `finished`, are `dead`, were `cancelled`, and how many attempts
            were `started` and `retried`, since the books were opened.
    """

    waiting: int
    delayed: int
    running: int
    dead: int
    oldest_age: float
    totals: Mapping[str, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class QueueStats:
    """All named queues, and the workers that serve them."""

    queues: Mapping[str, QueueDepth]
    workers: tuple[WorkerInfo, ...]

    def of(self, names: Sequence[str] = ()) -> QueueDepth:
        """These named queues, or all, taken together."""
        chosen = [depth for name, depth in self.queues.items() if not names or name in names]
        totals: dict[str, int] = {}
        for depth in chosen:
            for name, count in depth.totals.items():
                totals[name] = totals.get(name, 0) + count
        return QueueDepth(
            waiting=sum(depth.waiting for depth in chosen),
            delayed=sum(depth.delayed for depth in chosen),
            running=sum(depth.running for depth in chosen),
            dead=sum(depth.dead for depth in chosen),
            oldest_age=max((depth.oldest_age for depth in chosen), default=0.0),
            totals=totals,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class ScalingDecision:
    """What a scaler wants, and why.

    Attributes:
        workers: How many there are.
        wanted: How many there should be.
        waiting: Jobs that could start.
        oldest_age: Seconds that the oldest has waited.
        busy: Slots in use.
        slots: Slots in all.
        reason: One sentence for a reader.
    """

    workers: int
    wanted: int
    waiting: int
    oldest_age: float
    busy: int
    slots: int
    reason: str


class Carrier(ABC):
    """Brings ids of jobs from submitters to workers, through an existing queue engine.

    Constructing one does no I/O: `open` does. It owes the books little: a message may come late, twice, or be lost
    with its engine, and the books will see to it. What it must do is to hand each message to one worker at a time,
    to take no more of them than the worker has slots, and to come back by itself when its server was away.

    Attributes:
        name: The name under which it is registered.
        longest: Seconds that a job may take at most, where the engine has a bound; a request with a longer time
            limit is refused.
        shared: Whether other processes see the same queue.
    """

    name: str
    longest: float | None = None
    shared: bool = True

    @abstractmethod
    async def open(self) -> Store:
        """Makes ready, and says where the books are kept. A server that is away is no error yet.

        Returns:
            The store of the books, which the queue closes. `Store.connect` makes one of a URL.

        Raises:
            ConfigError: A URL or an option cannot be used.
        """

    @abstractmethod
    async def send(self, job_id: str, queue: str) -> None:
        """Hands a message over; when it returns, the engine's server has it.

        It is called again for a job whose message may have been lost.

        Raises:
            QueueUnavailableError: The server does not answer.
        """

    @abstractmethod
    async def waiting(self, queue: str) -> int:
        """How many messages of a named queue no worker has yet.

        Raises:
            QueueUnavailableError: The server does not answer.
        """

    @abstractmethod
    async def deliver(self, deliver: Delivery, *, queues: Sequence[str], slots: int) -> None:
        """Calls `deliver` for each message of these queues, up to `slots` at once, until it is cancelled.

        When it is cancelled it takes no further messages, waits for the deliveries under way, and returns. A server
        that is away is waited for.
        """

    @abstractmethod
    async def aclose(self) -> None:
        """Frees connections. Jobs go on."""


@dataclass(frozen=True, kw_only=True)
class QueueRegistration:
    """Announces a task queue.

    Attributes:
        name: What users write.
        summary: One line.
        factory: Called with the options of `[queues.NAME]` that are not the books' own: `url` where one is known,
            and always `prefix`, which keeps queues on one server apart. Imports the heavy module when it is called.
        api_version: The version of the plugin interface that it was written for.
        options: The factory's own options beside `prefix`, and of each its kind: `str`, `int`, `float` or `bool`. With
            them, core refuses others by name; without, any are passed on.
    """

    name: str
    summary: str
    factory: Callable[[Mapping[str, Any]], Carrier]
    api_version: int = 1
    options: Mapping[str, type] | None = None
