"""`xagent worker`: runs the jobs of a task queue until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from xagent_core.cli.program import BackendOption
from xagent_core.cli.queues import QueueOption, QueueUrlOption

if TYPE_CHECKING:
    from xagent_core.config import Settings
    from xagent_core.plugins import Plugins
    from xagent_core.queueing.fleet import Fleet
    from xagent_core.queueing.health import Answer
    from xagent_core.queueing.queue import TaskQueue
    from xagent_core.queueing.scaling import ScalingConfig
    from xagent_core.queueing.worker import Worker

__all__ = ["make_app"]

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_EPILOG: Final = """\
SIGTERM, SIGINT or SIGHUP: takes no further jobs, lets those that run end, and exits with 0. A second one stops them;
what may run again is tried again elsewhere.
"""


def make_app() -> typer.Typer:
    """The command's application."""
    app = typer.Typer(rich_markup_mode=None, add_completion=False, pretty_exceptions_enable=False)
    app.command(epilog=_EPILOG)(worker)
    return app


def worker(
    *,
    backend: BackendOption = None,
    concurrency: Annotated[
        int | None, typer.Option("--concurrency", "-c", min=1, help="Jobs at once; by default two for each CPU.")
    ] = None,
    queues: Annotated[
        str, typer.Option(metavar="NAME,NAME...", help="The named queues that it serves, the most urgent first.")
    ] = "default",
    workspace: Annotated[
        Path | None,
        typer.Option(help="The folder that all tool calls here share; without one, tools that need files are refused."),
    ] = None,
    drain: Annotated[
        float | None, typer.Option(min=0, help="Seconds that running jobs have to end; by default as long as it takes.")
    ] = None,
    health: Annotated[
        str | None, typer.Option(metavar="[HOST:]PORT", help="Answer GET /health there.", show_default=False)
    ] = None,
    autoscale: Annotated[
        str | None, typer.Option(metavar="MIN:MAX", help="Start and drain so many worker processes, as the load wants.")
    ] = None,
    calm: Annotated[float, typer.Option(min=0, help="Seconds of less load before a process is drained.")] = 15.0,
    queue: QueueOption = None,
    queue_url: QueueUrlOption = None,
    leash: Annotated[bool, typer.Option("--leash", hidden=True, help="Drain at the end of stdin.")] = False,
) -> None:
    """Run the jobs of a task queue until it is told to stop."""
    from xagent_core.cli.logs import FieldsFormatter
    from xagent_core.cli.queues import find_queue
    from xagent_core.config import load_settings
    from xagent_core.errors import InvalidRequestError
    from xagent_core.plugins import load_plugins
    from xagent_core.queueing.scaling import ScalingConfig

    handler = logging.StreamHandler()
    handler.setFormatter(FieldsFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    logging.getLogger("xagent_core").setLevel(logging.INFO)
    settings = load_settings()
    plugins = load_plugins(settings.disabled_plugins)
    plugins.observe("xagent_process_started", command="worker")
    slots = concurrency or 2 * (os.cpu_count() or 1)
    names = tuple(name.strip() for name in queues.split(",") if name.strip())
    if not names:
        raise InvalidRequestError("worker", f"{queues!r} names no queue", "Write --queues NAME,NAME...")
    chosen = find_queue(queue, queue_url, settings=settings, plugins=plugins)
    if autoscale is None:
        work = _work(
            chosen, settings, plugins, backend, names,
            slots=slots, workspace=workspace, drain=drain, health=health, leash=leash,
        )  # fmt: skip
        asyncio.run(work)
    else:
        config = ScalingConfig.parse(autoscale, slots=slots, calm=calm)
        options = ["--concurrency", str(slots), "--queues", ",".join(names), "--leash"]
        options += ["--backend", backend] if backend else []
        options += ["--queue", queue] if queue else []
        options += ["--workspace", str(workspace)] if workspace else []
        options += ["--drain", str(drain)] if drain is not None else []
        # The URL may hold a password: everybody can read arguments.
        environment = os.environ | ({"XAGENT_QUEUE_URL": queue_url} if queue_url else {})
        if status := asyncio.run(_scale(chosen, options, environment, names, config=config, health=health)):
            raise typer.Exit(status)


async def _work(
    chosen: TaskQueue,
    settings: Settings,
    plugins: Plugins,
    backend: str | None,
    names: tuple[str, ...],
    *,
    slots: int,
    workspace: Path | None,
    drain: float | None,
    health: str | None,
    leash: bool,
) -> None:
    """One worker, in this process."""
    from xagent_core.engine import Engine
    from xagent_core.queueing.worker import Worker

    pool = replace(settings.pool, most=max(settings.pool.most, slots + settings.pool.ready))
    engine = Engine(backend, settings=settings, plugins=plugins, pool=pool)
    async with _told_to_stop() as told, engine, chosen:
        worker = Worker(chosen, engine, slots=slots, queues=names, workspace=workspace)
        with _health(health, lambda: _worker_health(worker)):
            logging.getLogger("xagent_core").info(
                "worker %s serves %s with %d slots on %s", worker.name, ", ".join(names), slots, engine.backend.name
            )
            if leash:
                asyncio.get_running_loop().add_reader(sys.stdin, _at_end_of_stdin, told[0])
            running = asyncio.create_task(worker.run())
            first = asyncio.create_task(told[0].wait())
            await asyncio.wait([running, first], return_when=asyncio.FIRST_COMPLETED)
            first.cancel()
            if not running.done():
                await _drain(worker, told[1], drain)
            await running


async def _drain(worker: Worker, again: asyncio.Event, seconds: float | None) -> None:
    """Drains; a second signal stops what runs."""

    async def stop_when_told_again() -> None:
        await again.wait()
        worker.stop()

    impatient = asyncio.create_task(stop_when_told_again())
    try:
        await worker.drain(seconds)
    finally:
        impatient.cancel()


async def _scale(
    chosen: TaskQueue,
    options: list[str],
    environment: dict[str, str],
    names: tuple[str, ...],
    *,
    config: ScalingConfig,
    health: str | None,
) -> int:
    """Worker processes, as many as the load wants; returns the exit status."""
    from xagent_core.queueing.fleet import Fleet

    command = [sys.executable, "-m", "xagent_core.cli", "worker", *options]
    async with _told_to_stop() as told, chosen:
        fleet = Fleet(chosen, command, environment=environment, names=names, config=config)
        with _health(health, lambda: _fleet_health(fleet, config)):
            return await fleet.run(*told)


@contextlib.asynccontextmanager
async def _told_to_stop() -> AsyncIterator[tuple[asyncio.Event, asyncio.Event]]:
    """Events that are set by the first and by the second signal."""
    first, second = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def tell() -> None:
        (second if first.is_set() else first).set()

    for number in _SIGNALS:
        loop.add_signal_handler(number, tell)
    try:
        yield first, second
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)


def _at_end_of_stdin(stop: asyncio.Event) -> None:
    if not os.read(sys.stdin.fileno(), 4096):
        asyncio.get_running_loop().remove_reader(sys.stdin)
        stop.set()


@contextlib.contextmanager
def _health(address: str | None, answer: Callable[[], Answer]) -> Iterator[None]:
    if address is None:
        yield
        return
    from xagent_core.queueing.health import HealthServer

    with HealthServer(address, {"/health": answer}) as server:
        logging.getLogger("xagent_core").info("GET /health is answered on port %d", server.port)
        yield


def _worker_health(worker: Worker) -> Answer:
    """Well is who has shown the books a sign of life lately."""
    from xagent_core.queueing.health import Answer
    from xagent_core.queueing.payload import document

    info, sign = worker.info, worker.last_sign
    well = sign is not None and time.monotonic() - sign < worker.queue.config.lease
    status = "away" if not well else "draining" if info.draining else "ok"
    return Answer(status=200 if well else 503, body={"status": status, "worker": document(info)})


def _fleet_health(fleet: Fleet, config: ScalingConfig) -> Answer:
    from xagent_core.queueing.health import Answer

    well = fleet.well or fleet.draining
    status = "away" if not well else "draining" if fleet.draining else "ok"
    body = {"status": status, "workers": fleet.workers, "least": config.least, "most": config.most}
    return Answer(status=200 if well else 503, body=body)
