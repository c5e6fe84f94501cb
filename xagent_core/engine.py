"""Runs requests: the only place where languages, policy, pool and guest meet."""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, Iterable, Mapping
from dataclasses import replace
from typing import Any, Self

from xagent_core.abc.backend import Backend, Capabilities
from xagent_core.config import PoolConfig, Settings, load_settings
from xagent_core.errors import BackendError, BackendUnavailableError, SandboxLostError, XAgentError
from xagent_core.guest.collect import collect
from xagent_core.guest.exchange import Exchange, Outcome, RawOutput
from xagent_core.guest.wire import job_message, new_boundary
from xagent_core.plugins import Plugins, load_plugins
from xagent_core.policy import Plan, plan
from xagent_core.pool import Pool
from xagent_core.types import (
    Event,
    ExecutionRequest,
    ExecutionResult,
    FinishedEvent,
    InputFile,
    Limits,
    NetworkPolicy,
    OutputEvent,
    OutputFile,
    Timings,
    parse_size,
)

__all__ = ["Engine", "get_backend", "run"]

logger = logging.getLogger(__name__)

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

    async def __aenter__(self) -> Self:
        """Finds the backend, and starts the sandboxes that are to be warm.

        Raises:
            UnknownPluginError: There is no such backend.
            BackendUnavailableError: It, or none at all, can be used here.
        """
        self._backend = await self._find_backend()
        try:
            self._capabilities = await self._backend.capabilities()
            self._pool = Pool(self._backend, self._pool_config)
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
        self._upkeep = self._pool = self._backend = None
        if upkeep is not None:
            upkeep.cancel()
        # A caller that is cancelled while it closes must not leave sandboxes behind.
        await asyncio.shield(asyncio.ensure_future(_close(upkeep, pool, backend)))

    @property
    def backend(self) -> Backend:
        """The backend in use.

        Raises:
            XAgentError: The engine was not entered.
        """
        if self._backend is None:
            raise XAgentError("engine", "it is not open", "Use `async with Engine(...) as engine:`.")
        return self._backend

    @property
    def pool(self) -> Pool:
        """The sandboxes.

        Raises:
            XAgentError: The engine was not entered.
        """
        if self._pool is None:
            raise XAgentError("engine", "it is not open", "Use `async with Engine(...) as engine:`.")
        return self._pool

    async def execute(
        self,
        code: str | ExecutionRequest,
        *,
        language: str = "python",
        timeout: float | None = None,  # noqa: ASYNC109 - the program's limit, which is a result and no exception
        memory_limit: int | str | None = None,
        cpu_limit: float | None = None,
        limits: Limits | None = None,
        network: NetworkPolicy = NetworkPolicy.NONE,
        stdin: str | bytes = "",
        args: Iterable[str] = (),
        env: Mapping[str, str] | None = None,
        files: Iterable[InputFile] = (),
        collect: Iterable[str] = (),
    ) -> ExecutionResult:
        """Runs a program to its end.

        Args:
            code: Source text, or a whole request, which the other arguments then do not change.
            language: The name or an alias of an installed language.
            timeout: Seconds for build and run together.
            memory_limit: Bytes, or a size such as `"256m"`.
            cpu_limit: CPUs, 0.5 is half of one.
            limits: Further limits; `timeout`, `memory_limit` and `cpu_limit` go before it.
            network: What the program may reach.
            stdin: What it reads from its standard input.
            args: Its arguments.
            env: Its environment variables.
            files: Put into its working directory.
            collect: Patterns of files to bring back.

        Returns:
            What became of it. A program that fails, or is stopped at a limit, is a result too.

        Raises:
            InvalidRequestError: The request could not run anywhere.
            PolicyNotSupportedError: The backend cannot hold what was asked for.
            BackendError: The backend failed; a `SandboxLostError` says whether the code may have run.
            PoolTimeoutError: No sandbox became free.
        """
        request = (
            code
            if isinstance(code, ExecutionRequest)
            else make_request(
                code, language=language, timeout=timeout, memory_limit=memory_limit, cpu_limit=cpu_limit,
                limits=limits, network=network, stdin=stdin, args=args, env=env, files=files, collect=collect,
            )
        )  # fmt: skip
        async with contextlib.aclosing(self._run(request)) as events:
            async for event in events:
                if isinstance(event, FinishedEvent):
                    return event.result
        raise AssertionError("unreachable: an execution ends with a FinishedEvent")

    async def stream(self, code: str | ExecutionRequest, **arguments: Any) -> AsyncGenerator[Event, None]:
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
        request = code if isinstance(code, ExecutionRequest) else make_request(code, **arguments)
        async with contextlib.aclosing(self._run(request)) as events:
            async for event in events:
                yield event

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
        name = self.backend.name
        self.plugins.observe("xagent_before_execute", request=request, backend=name)
        result: ExecutionResult | None = None
        error: BaseException | None = None
        try:
            async with contextlib.aclosing(self._run_planned(request, self.plan(request))) as events:
                async for event in events:
                    if isinstance(event, FinishedEvent):
                        result = event.result
                    yield event
        except BaseException as caught:
            error = caught
            raise
        finally:
            self.plugins.observe("xagent_after_execute", request=request, backend=name, result=result, error=error)

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
        text = _Text()
        async with self.pool.sandbox(planned.spec) as sandbox:
            acquired = time.monotonic() - asked
            boundary, program = new_boundary(), planned.program
            exchange = Exchange(
                sandbox,
                boundary,
                builds=bool(program.build),
                timeout=planned.limits.timeout,
                output_limit=planned.limits.output,
                announced=True,
                stops=(sandbox.kill,),
            )
            message = job_message(program, request, boundary=boundary)
            async with contextlib.aclosing(exchange.run(message)) as pieces:
                async for piece in pieces:
                    if isinstance(piece, RawOutput):
                        yield OutputEvent(stream=piece.stream, data=text.add(piece), raw=piece.data, phase=piece.phase)
                    else:
                        outcome = piece
            files: tuple[OutputFile, ...] = ()
            complete = not request.collect
            if request.collect and outcome.mark is not None and outcome.phase == "run":
                files, complete = await collect(sandbox, request.collect, limit=planned.limits.collect)
            result = self._result(planned, outcome, text, acquired)
            yield FinishedEvent(result=replace(result, files=files, files_truncated=not complete))

    def _result(self, planned: Plan, outcome: Outcome, text: _Text, acquired: float) -> ExecutionResult:
        output, error = text.of("stdout"), text.of("stderr")
        return ExecutionResult(
            status=outcome.status,
            output=output,
            error=error,
            exit_code=outcome.exit_code,
            execution_time=outcome.build_seconds + outcome.run_seconds,
            language=planned.spec.language,
            backend=self.backend.name,
            phase=outcome.phase,
            output_truncated="stdout" in outcome.truncated,
            error_truncated="stderr" in outcome.truncated,
            usage=outcome.usage,
            timings=Timings(acquire=acquired, build=outcome.build_seconds, run=outcome.run_seconds),
            unenforced=planned.spec.unenforced,
        )

    async def _find_backend(self) -> Backend:
        if isinstance(self._wanted, Backend):
            return self._wanted
        if self._wanted != "auto":
            backend = get_backend(self._wanted, plugins=self.plugins, settings=self._settings)
            probe = await backend.probe()
            if not probe.available:
                await backend.aclose()
                raise probe.error(backend.name)
            return backend
        reasons = []
        for registration in sorted(self.plugins.backends, key=lambda r: r.preference):
            try:
                backend = get_backend(registration.name, plugins=self.plugins, settings=self._settings)
                probe = await backend.probe()
            except XAgentError as error:
                reasons.append(str(error))
                continue
            if probe.available:
                logger.info("backend %s was chosen", backend.name)
                return backend
            await backend.aclose()
            reasons.append(str(probe.error(backend.name)))
        raise BackendUnavailableError(
            "engine",
            "no sandbox backend can be used here: " + ("; ".join(reasons) or "no backend plugin is installed"),
            "Install one: `pip install xagent-bubblewrap` needs no daemon; xagent-docker and xagent-podman use an "
            "engine. `xagent doctor` tells more.",
        )

    async def _keep_up(self, backend: Backend, pool: Pool) -> None:
        """Removes what dead owners left, and retires what nobody uses, from time to time."""
        while True:
            try:
                for line in await backend.reap():
                    logger.info("reaped %s", line)
            except BackendError as error:
                logger.warning("%s", error)
            await asyncio.sleep(_REAP_SECONDS)
            pool.retire_idle()


class _Text:
    """The output as text: bytes that are not UTF-8 become U+FFFD, and no character is cut at a piece's end."""

    def __init__(self) -> None:
        decoder = codecs.getincrementaldecoder("utf-8")
        self._decoders = {"stdout": decoder("replace"), "stderr": decoder("replace")}
        self._parts: dict[str, list[str]] = {"stdout": [], "stderr": []}

    def add(self, piece: RawOutput) -> str:
        data = self._decoders[piece.stream].decode(piece.data)
        self._parts[piece.stream].append(data)
        return data

    def of(self, stream: str) -> str:
        return "".join(self._parts[stream]) + self._decoders[stream].decode(b"", final=True)


async def _close(upkeep: asyncio.Task[None] | None, pool: Pool | None, backend: Backend | None) -> None:
    if upkeep is not None:
        await asyncio.wait([upkeep])
    if pool is not None:
        await pool.aclose()
    if backend is not None:
        await backend.aclose()


def make_request(
    code: str,
    *,
    language: str = "python",
    timeout: float | None = None,
    memory_limit: int | str | None = None,
    cpu_limit: float | None = None,
    limits: Limits | None = None,
    network: NetworkPolicy = NetworkPolicy.NONE,
    stdin: str | bytes = "",
    args: Iterable[str] = (),
    env: Mapping[str, str] | None = None,
    files: Iterable[InputFile] = (),
    collect: Iterable[str] = (),
) -> ExecutionRequest:
    """The arguments of `Engine.execute` as a request.

    Raises:
        InvalidRequestError: A value cannot be used.
    """
    own = Limits(timeout=timeout, memory=None if memory_limit is None else parse_size(memory_limit), cpus=cpu_limit)
    return ExecutionRequest(
        code=code,
        language=language,
        limits=own.over(limits or Limits()),
        network=network,
        stdin=stdin.encode() if isinstance(stdin, str) else stdin,
        args=tuple(args),
        env=dict(env or {}),
        files=tuple(files),
        collect=tuple(collect),
    )


def get_backend(
    name: str, *, plugins: Plugins | None = None, settings: Settings | None = None, **options: Any
) -> Backend:
    """A backend by name, for authors of frameworks.

    Args:
        name: As `xagent backends` lists it.
        plugins: Instead of what is installed.
        settings: Instead of the configuration file and the environment.
        **options: The backend's own options, before those of the configuration.

    Returns:
        The backend; nothing was asked of its engine yet.

    Raises:
        UnknownPluginError: There is no such backend.
        BackendUnavailableError: Its own dependencies are not installed.
    """
    settings = settings or load_settings()
    plugins = plugins or load_plugins(settings.disabled_plugins)
    registration = plugins.backends[name]
    try:
        return registration.factory({**settings.backends.get(registration.name, {}), **options})
    except ImportError as error:
        distribution = plugins.backends.distribution(name)
        raise BackendUnavailableError(
            name, f"a dependency is missing: {error}", f"Reinstall it: pip install --force-reinstall {distribution}"
        ) from error


def run(code: str | ExecutionRequest, *, backend: str | Backend | None = None, **arguments: Any) -> ExecutionResult:
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

    return asyncio.run(once())
