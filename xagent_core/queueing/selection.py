"""Finds a task queue by its name, and makes it as the settings say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from xagent_core.config import Settings, blamed_on, check_known, load_settings
from xagent_core.errors import ConfigError
from xagent_core.kinds import check
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
    known = [field.name for field in fields(BooksConfig)]
    place, own = f"queues.{registration.name}", registration.options
    if own is not None:
        check_known(given, (*known, "retry", *own), place)
    with blamed_on(place):
        config = BooksConfig(**{key: given.pop(key) for key in known if key in given})
        for key, value in given.items():
            if own is not None and key in own:
                check(key, value, own[key], component=place)
    retry = _retry(given.pop("retry", {}), f"{place}.retry")
    try:
        carrier = registration.factory({**given, "prefix": config.prefix})
    except ImportError as error:
        distribution = plugins.queues.distribution(registration.name)
        raise ConfigError(
            place, f"a dependency is missing: {error}", f"Reinstall it: pip install --force-reinstall {distribution}"
        ) from error
    except TypeError as error:
        raise ConfigError(place, f"an option cannot be used: {error}") from error
    return TaskQueue(carrier, config=config, retry=retry, plugins=plugins)


def _retry(table: object, place: str) -> RetryPolicy:
    if not isinstance(table, Mapping):
        raise ConfigError(place, "must be a table")
    check_known(table, (field.name for field in fields(RetryPolicy)), place)
    with blamed_on(place):
        return RetryPolicy(**table)
