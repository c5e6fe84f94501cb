"""Finds a task queue by its name, and makes it as the settings say."""

from __future__ import annotations

import dataclasses
from typing import Any

from xagent_core.config import Settings, load_settings
from xagent_core.errors import ConfigError
from xagent_core.plugins import Plugins, load_plugins
from xagent_core.queueing.books import BooksConfig
from xagent_core.queueing.queue import TaskQueue
from xagent_core.queueing.retry import RetryPolicy

__all__ = ["get_queue"]


def get_queue(
    name: str | None = None,
    *,
    url: str | None = None,
    settings: Settings | None = None,
    plugins: Plugins | None = None,
    **options: Any,
) -> TaskQueue:
    """A task queue by name.

    Args:
        name: As `xagent plugins list` lists it; by default what the settings say.
        url: Where its server is; by default what the settings say.
        settings: Instead of the configuration file and the environment.
        plugins: Instead of what is installed.
        **options: The queue's options, before those of the configuration: the fields of `BooksConfig`, `retry` with
            the fields of `RetryPolicy`, and the carrier's own.

    Returns:
        The queue; nothing was asked of its server yet.

    Raises:
        UnknownPluginError: There is no such queue.
        ConfigError: An option cannot be used, or a dependency of the queue is missing.
    """
    settings = settings or load_settings()
    plugins = plugins or load_plugins(settings.disabled_plugins)
    registration = plugins.queues[name or settings.queue]
    given: dict[str, Any] = {**settings.queues.get(registration.name, {}), **options}
    if url or settings.queue_url:
        given["url"] = url or settings.queue_url
    known = {field.name for field in dataclasses.fields(BooksConfig)}
    place = f"queues.{registration.name}"
    try:
        config = BooksConfig(**{key: given.pop(key) for key in known & given.keys()})
        retry = RetryPolicy(**given.pop("retry", {}))
        carrier = registration.factory({**given, "prefix": config.prefix})
    except ImportError as error:
        distribution = plugins.queues.distribution(registration.name)
        raise ConfigError(
            place, f"a dependency is missing: {error}", f"Reinstall it: pip install --force-reinstall {distribution}"
        ) from error
    except TypeError as error:
        raise ConfigError(place, f"an option cannot be used: {error}") from error
    return TaskQueue(carrier, config=config, retry=retry, plugins=plugins)
