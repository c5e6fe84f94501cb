"""Finds the backend that was asked for, or the best that answers."""

from __future__ import annotations

import logging
from typing import Any

from xagent_core.abc.backend import Backend
from xagent_core.config import Settings, load_settings
from xagent_core.errors import BackendUnavailableError, XAgentError
from xagent_core.plugins import Plugins, load_plugins

__all__ = ["find_backend", "get_backend"]

logger = logging.getLogger(__name__)


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


async def find_backend(wanted: str | Backend, *, plugins: Plugins, settings: Settings) -> Backend:
    """A backend that can be used here and now.

    Args:
        wanted: A backend's name, `auto` for the best that answers, or a backend, which is not probed.
        plugins: What is installed.
        settings: The backends' options.

    Returns:
        The backend.

    Raises:
        UnknownPluginError: There is no such backend.
        BackendUnavailableError: It, or none at all, can be used here.
    """
    if isinstance(wanted, Backend):
        return wanted
    if wanted != "auto":
        backend = get_backend(wanted, plugins=plugins, settings=settings)
        if (error := await _unavailable(backend)) is not None:
            raise error
        return backend
    reasons = []
    for registration in sorted(plugins.backends, key=lambda r: r.preference):
        try:
            backend = get_backend(registration.name, plugins=plugins, settings=settings)
        except XAgentError as broken:
            reasons.append(str(broken))
            continue
        if (error := await _unavailable(backend)) is None:
            logger.info("backend %s was chosen", backend.name)
            return backend
        reasons.append(str(error))
    # A plugin that is broken, or there twice, may be the one that was meant to be found.
    reasons += [*map(str, plugins.failures), *plugins.backends.duplicates()]
    raise BackendUnavailableError(
        "engine",
        "no sandbox backend can be used here: " + ("; ".join(reasons) or "no backend plugin is installed"),
        "Install one: `pip install xagent-bubblewrap` needs no daemon; xagent-docker and xagent-podman use an "
        "engine. `xagent doctor` tells more.",
    )


async def _unavailable(backend: Backend) -> XAgentError | None:
    """Why the backend cannot be used, after it was closed; None where it can."""
    error: XAgentError | None = None
    try:
        probe = await backend.probe()
        if probe.available:
            return None
        error = probe.error(backend.name)
    except XAgentError as failed:
        error = failed
    except BaseException:
        await backend.aclose()
        raise
    await backend.aclose()
    return error
