"""`xagent exporter`: serves the metrics of a task queue, which are in its books and in no single worker."""

from __future__ import annotations

import asyncio
import logging
import signal
from typing import Annotated

import typer

from xagent_core.cli.queues import QueueOption, QueueUrlOption

__all__ = ["make_app"]


def make_app() -> typer.Typer:
    """The command's application."""
    app = typer.Typer(rich_markup_mode=None, add_completion=False, pretty_exceptions_enable=False)
    app.command()(exporter)
    return app


def exporter(
    *,
    listen: Annotated[
        str,
        typer.Option(metavar="[HOST:]PORT", envvar="XAGENT_METRICS_ADDRESS", help="Where GET /metrics is answered."),
    ] = "127.0.0.1:9465",
    every: Annotated[float, typer.Option(min=0.1, help="Seconds between two looks into the books.")] = 5.0,
    queue: QueueOption = None,
    queue_url: QueueUrlOption = None,
) -> None:
    """Serve the metrics of a task queue until told to stop.

    How many jobs wait, and for how long, is the same whoever is asked: so one process says it, also while no worker
    runs at all.
    """
    from prometheus_client import REGISTRY

    from xagent_core.cli.queues import find_queue
    from xagent_core.config import load_settings
    from xagent_core.plugins import load_plugins
    from xagent_prometheus.queues import Queues, watch
    from xagent_prometheus.server import serve_process

    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.INFO)
    settings = load_settings()
    plugins = load_plugins(settings.disabled_plugins)
    plugins.observe("xagent_process_started", command="exporter")
    chosen = find_queue(queue, queue_url, settings=settings, plugins=plugins)

    async def work() -> None:
        queues = Queues()
        REGISTRY.register(queues)
        told = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, told.set)
        async with chosen:
            serve_process(listen)
            await watch(chosen, queues, every=every, until=told)

    asyncio.run(work())
