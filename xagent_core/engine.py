"""Runs requests: the only place where languages, policy, pool and guest meet."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, Iterable
from dataclasses import replace
from functools import partial
from typing import Self, TypeVar, Unpack

from xagent_core.abc.backend import Backend, Capabilities
from xagent_core.config import PoolConfig, Settings, load_settings
from xagent_core.errors import SandboxLostError, XAgentError
from xagent_core.execution import run_program
from xagent_core.plugins import Plugins, load_plugins
from xagent_core.policy import Plan, plan
from xagent_core.pool import Pool
from xagent_core.request import RequestArguments, make_request
from xagent_core.selection import find_backend
from xagent_core.session import Session
from xagent_core.types import (
    Event,
    ExecutionRequest,
    ExecutionResult,
    FinishedEvent,
    Limits,
    NetworkPolicy,
)

__all__ = ["Engine", "run"]

logger = logging.getLogger(__name__)

T = TypeVar("T")

_REAP_SECONDS = 30.0


class Engine:
    """Runs programs in the sandboxes of one backend.

    Use it as an async context manager: entering it finds the backend, leaving it destroys every sandbox.

    Args:
        backend: A backend's name, `auto` for the best that answers, or a `Backend` object of your own. By default
            what the settings say.
        settings: Instead of the configuration file and the environment.
        plugins: Instead of what is installed.
        pool: Instead of the settings' pool.
        warm: Languages whose sandboxes are started on entry, and not only on first use.
    """

    def __init__(
        self,
        backend: str | Backend | None = None,
        *,
        settings: Settings | None = None,
        plugins: Plugins | None = None,
        pool: PoolConfig | None = None,
        warm: Iterable[str] = (),
    ) -> None:
        self._settings = settings or load_settings()
        self.plugins = plugins or load_plugins(self._settings.disabled_plugins)
        self._wanted = backend or self._settings.backend
        self._pool_config = pool or self._settings.pool
        self._warm = tuple(warm)
        self._backend: Backend | None = None
        self._capabilities: Capabilities | None = None
        self._pool: Pool | None = None
        self._upkeep: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def __aenter__(self) -> Self:
        """Finds the backend, and starts the sandboxes that are to be warm.

        Raises:
            UnknownPluginError: There is no such backend.
            BackendUnavailableError: It, or none at all, can be used here.
            XAgentError: The engine is open already.
        """
        if self._backend is not None:
            raise XAgentError("engine", "it is open already", "Enter it once, and share it.")
        self._backend = await find_backend(self._wanted, plugins=self.plugins, settings=self._settings)
        self._loop = asyncio.get_running_loop()
        try:
            self._capabilities = await self._backend.capabilities()
            observe = partial(self.plugins.observe, "xagent_pool_changed", backend=self._backend.name)
            self._pool = Pool(self._backend, self._pool_config, observer=lambda stats: observe(stats=stats))
            self._upkeep = asyncio.create_task(self._keep_up(self._backend, self._pool))
            for language in self._warm:
                await self._pool.warm(self.plan(ExecutionRequest(code="", language=language)).spec)
        except BaseException:
            await self.aclose()
            raise
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Destroys every sandbox and frees the backend. May be called again."""
        upkeep, pool, backend = self._upkeep, self._pool, self._backend
        self._upkeep = self._pool = self._backend = self._loop = None
        if upkeep is not None:
            upkeep.cancel()
        closing = asyncio.create_task(_close(upkeep, pool, backend))
        try:
            await asyncio.shield(closing)
        except asyncio.CancelledError:
            # A caller that is cancelled while it closes must not leave sandboxes behind.
            await asyncio.wait([closing])
            raise

    @property
    def settings(self) -> Settings:
        """What it was configured with."""
        return self._settings

    @property
    def backend(self) -> Backend:
        """The backend in use.

        Raises:
            XAgentError: The engine was not entered.
        """
        return _opened(self._backend)

    @property
    def pool(self) -> Pool:
        """The sandboxes.

        Raises:
            XAgentError: The engine was not entered.
        """
        return _opened(self._pool)

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The event loop in which the engine was entered, and must be used.

        Raises:
            XAgentError: The engine was not entered.
        """
        return _opened(self._loop)

    async def execute(self, code: str | ExecutionRequest, **arguments: Unpack[RequestArguments]) -> ExecutionResult:
        """Runs a program to its end.

        Args:
            code: Source text, or a whole request.
            **arguments: Beside source text: `language`, `timeout`, `memory_limit`, `cpu_limit`, `limits`, `network`,
                `stdin`, `args`, `env`, `files`, `collect`; see `RequestArguments`.

        Returns:
            What became of it. A program that fails, or is stopped at a limit, is a result too.

        Raises:
            InvalidRequestError: The request could not run anywhere.
            PolicyNotSupportedError: The backend cannot hold what was asked for.
            BackendError: The backend failed; a `SandboxLostError` says whether the code may have run.
            PoolTimeoutError: No sandbox became free.
        """
        request = make_request(code, **arguments)
        async with contextlib.aclosing(self._run(request)) as events:
            async for event in events:
                if isinstance(event, FinishedEvent):
                    return event.result
        raise AssertionError("unreachable: an execution ends with a FinishedEvent")

    async def stream(
        self, code: str | ExecutionRequest, **arguments: Unpack[RequestArguments]
    ) -> AsyncGenerator[Event, None]:
        """Runs a program and yields its output as it is produced.

        Leaving the loop early kills the program. What is not fetched is not buffered: the program waits.

        Args:
            code: Source text, or a whole request.
            **arguments: Those of `execute`.

        Yields:
            `OutputEvent`s, and at last one `FinishedEvent`, whose result holds all the output again.

        Raises:
            XAgentError: What `execute` raises.
        """
        request = make_request(code, **arguments)
        async with contextlib.aclosing(self._run(request)) as events:
            async for event in events:
                yield event

    def session(
        self,
        language: str = "python",
        *,
        timeout: float | None = None,
        limits: Limits | None = None,
        network: NetworkPolicy = NetworkPolicy.NONE,
        idle_seconds: float = 600.0,
    ) -> Session:
        """A sandbox that is kept between calls: `async with engine.session("python") as session:`.

        Args:
            language: The name or an alias of an installed language.
            timeout: Seconds that a call may take.
            limits: Further limits of the sandbox.
            network: What it may reach.
            idle_seconds: The session is closed when it was not used for so long.

        Returns:
            The session. Entering it takes the sandbox.

        Raises:
            UnknownLanguageError: There is no such language.
            PolicyNotSupportedError: The backend cannot hold what was asked for.
        """
        request = make_request("", language=language, timeout=timeout, limits=limits, network=network)
        return Session(
            self.plugins.languages[language],
            self.plan(request),
            pool=self.pool,
            backend=self.backend.name,
            idle_seconds=idle_seconds,
        )

    def plan(self, request: ExecutionRequest) -> Plan:
        """What would run, where, and under which limits.

        Raises:
            InvalidRequestError: The request could not run anywhere.
            PolicyNotSupportedError: The backend cannot hold what was asked for.
        """
        return plan(
            request,
            self.plugins.languages[request.language],
            defaults=self._settings.limits,
            backend=self.backend.name,
            capabilities=self._capabilities or Capabilities(limits=frozenset()),
        )

    async def _run(self, request: ExecutionRequest) -> AsyncGenerator[Event, None]:
        name, seen = self.backend.name, self.plugins.named(request)
        self.plugins.observe("xagent_before_execute", request=seen, backend=name)
        result: ExecutionResult | None = None
        error: BaseException | None = None
        try:
            async with contextlib.aclosing(self._run_planned(request, self.plan(request))) as events:
                async for event in events:
                    if isinstance(event, FinishedEvent):
                        result = event.result
                    yield event
        except BaseException as caught:
            # A caller who has the result leaves the loop: that is no error.
            error = caught if result is None else None
            raise
        finally:
            self.plugins.observe("xagent_after_execute", request=seen, backend=name, result=result, error=error)

    async def _run_planned(self, request: ExecutionRequest, planned: Plan) -> AsyncGenerator[Event, None]:
        try:
            async with contextlib.aclosing(self._attempt(request, planned)) as events:
                async for event in events:
                    yield event
            return
        except SandboxLostError as error:
            if error.code_ran != "no":
                raise
            logger.warning("another sandbox is tried: %s", error)
        async with contextlib.aclosing(self._attempt(request, planned)) as events:
            async for event in events:
                yield event

    async def _attempt(self, request: ExecutionRequest, planned: Plan) -> AsyncGenerator[Event, None]:
        asked = time.monotonic()
        async with self.pool.sandbox(planned.spec, cold=planned.cold) as sandbox:
            run = run_program(sandbox, planned, request, backend=self.backend.name, acquired=time.monotonic() - asked)
            async with contextlib.aclosing(run) as events:
                async for event in events:
                    yield event

    async def _keep_up(self, backend: Backend, pool: Pool) -> None:
        """Removes what dead owners left, and retires what nobody uses, from time to time."""
        while True:
            try:
                for line in await backend.reap():
                    logger.info("reaped %s", line)
            except XAgentError as error:
                logger.warning("what dead owners left could not be removed: %s", error)
            await asyncio.sleep(_REAP_SECONDS)
            pool.retire_idle()


def _opened(part: T | None) -> T:
    """A part of an engine that was entered."""
    if part is None:
        raise XAgentError("engine", "it is not open", "Use `async with Engine(...) as engine:`.")
    return part


async def _close(upkeep: asyncio.Task[None] | None, pool: Pool | None, backend: Backend | None) -> None:
    if upkeep is not None:
        await asyncio.wait([upkeep])
    if pool is not None:
        await pool.aclose()
    if backend is not None:
        await backend.aclose()


def run(
    code: str | ExecutionRequest, *, backend: str | Backend | None = None, **arguments: Unpack[RequestArguments]
) -> ExecutionResult:
    """Runs one program, for synchronous callers.

    Args:
        code: Source text, or a whole request.
        backend: As for `Engine`.
        **arguments: Those of `Engine.execute`.

    Returns:
        What became of the program.

    Raises:
        XAgentError: What `Engine` and `Engine.execute` raise.
        RuntimeError: It was called where an event loop runs: await `Engine.execute` there.
    """

    async def once() -> ExecutionResult:
        settings = load_settings()
        async with Engine(backend, settings=settings, pool=replace(settings.pool, ready=0)) as engine:
            return await engine.execute(code, **arguments)

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(once())
    raise RuntimeError("run() was called where an event loop runs: await Engine.execute there")
