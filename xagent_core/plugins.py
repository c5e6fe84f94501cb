"""Finds installed plugins, and keeps a broken one from breaking the others."""

from __future__ import annotations

import difflib
import importlib.metadata
import inspect
import logging
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import pluggy

from xagent_core import hookspecs
from xagent_core.abc.backend import BackendRegistration
from xagent_core.abc.command import CommandRegistration
from xagent_core.abc.language import Language
from xagent_core.abc.queue import QueueRegistration
from xagent_core.abc.search import SearchProviderRegistration
from xagent_core.abc.tool import ToolRegistration
from xagent_core.catalogue import Catalogue, PluginFailure
from xagent_core.errors import DuplicatePluginError, PluginError, UnknownLanguageError
from xagent_core.types import ExecutionRequest

__all__ = ["Catalogue", "LoadedPlugin", "PluginFailure", "Plugins", "load_plugins"]

logger = logging.getLogger(__name__)

_NAME: Final = re.compile(r"[A-Za-z0-9]\S*")


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadedPlugin:
    """A plugin that works.

    Attributes:
        name: The entry point's name.
        distribution: What pip calls it.
        version: Its version.
        provides: `backend docker`, `language go`, `observer before_execute`, ...
    """

    name: str
    distribution: str
    version: str
    provides: tuple[str, ...]


class Plugins:
    """All that is installed. Made by `load_plugins`."""

    def __init__(self) -> None:
        self.failures: list[PluginFailure] = []
        self.loaded: list[LoadedPlugin] = []
        self.disabled: list[str] = []
        self.backends: Catalogue[BackendRegistration] = Catalogue("backend", self.failures)
        self.languages: Catalogue[Language] = Catalogue("language", self.failures)
        self.tools: Catalogue[ToolRegistration] = Catalogue("tool", self.failures)
        self.queues: Catalogue[QueueRegistration] = Catalogue("queue", self.failures)
        self.search_providers: Catalogue[SearchProviderRegistration] = Catalogue("search provider", self.failures)
        self.commands: Catalogue[CommandRegistration] = Catalogue("command", self.failures)
        self._catalogues: Mapping[str, Catalogue[Any]] = {
            "backend": self.backends,
            "language": self.languages,
            "tool": self.tools,
            "queue": self.queues,
            "search provider": self.search_providers,
            "command": self.commands,
        }
        self._pm = pluggy.PluginManager(hookspecs.GROUP)
        self._pm.add_hookspecs(hookspecs)

    def duplicates(self) -> list[str]:
        """One line for each name that more than one distribution provides."""
        return [line for catalogue in self._catalogues.values() for line in catalogue.duplicates()]

    def language_for_file(self, name: str) -> Language | None:
        """The language whose extension the file name ends in; None where there is none."""
        matches = [(len(e), lang) for lang in self.languages for e in lang.extensions if name.endswith(e)]
        return max(matches, key=lambda match: match[0])[1] if matches else None

    def named(self, request: ExecutionRequest) -> ExecutionRequest:
        """The request as observers get it: with the language's own name, and not an alias that the caller wrote."""
        try:
            name = self.languages[request.language].name
        except (UnknownLanguageError, DuplicatePluginError):
            return request  # planning it says so
        return request if name == request.language else replace(request, language=name)

    def observe(self, hook: str, **arguments: object) -> None:
        """Calls an observing hook of every plugin; what one raises is logged and changes nothing."""
        for implementation in getattr(self._pm.hook, hook).get_hookimpls():
            try:
                implementation.function(*(arguments[name] for name in implementation.argnames))
            except Exception:
                logger.exception("observer %s of plugin %s failed", hook, implementation.plugin_name)

    def add(self, name: str, distribution: str, version: str, load: Callable[[], object]) -> None:
        """Loads one plugin and takes what it registers; a failure is recorded, never raised.

        Args:
            name: The entry point's name.
            distribution: What pip calls it.
            version: Its version.
            load: Imports and returns the plugin's module.
        """

        def failed(cause: str) -> None:
            self.failures.append(PluginFailure(name=name, distribution=distribution, version=version, cause=cause))

        try:
            plugin = load()
            _check_hooks(plugin)
            self._pm.register(plugin, name=f"{distribution}:{name}")
        # A module that calls sys.exit() while it is imported must not end the user's program.
        except (Exception, SystemExit) as error:
            failed(f"{type(error).__name__}: {error}")
            return
        provides = []
        for kind, hook in _REGISTERING.items():
            function = getattr(plugin, hook, None)
            if function is None:
                continue
            try:
                if not isinstance(given := function(), Iterable):
                    raise TypeError(f"it returned {type(given).__name__}, and not a list")
                registrations = [_checked(kind, registration) for registration in given]
            except (Exception, SystemExit) as error:
                failed(f"{hook}: {type(error).__name__}: {error}")
                continue
            for registration in registrations:
                self._catalogues[kind].add(registration, distribution)
                provides.append(f"{kind} {registration.name}")
        hooks = {caller.name for caller in self._pm.get_hookcallers(plugin) or ()}
        observed = sorted(hooks.difference(_REGISTERING.values()))
        provides += [f"observer {hook.removeprefix('xagent_')}" for hook in observed]
        self.loaded.append(
            LoadedPlugin(name=name, distribution=distribution, version=version, provides=tuple(provides))
        )


_REGISTERING: Final[Mapping[str, str]] = {
    "backend": "xagent_register_backends",
    "language": "xagent_register_languages",
    "tool": "xagent_register_tools",
    "queue": "xagent_register_queues",
    "search provider": "xagent_register_search_providers",
    "command": "xagent_register_commands",
}
_TYPES: Final[Mapping[str, Any]] = {
    "backend": BackendRegistration,
    "language": Language,
    "tool": ToolRegistration,
    "queue": QueueRegistration,
    "search provider": SearchProviderRegistration,
    "command": CommandRegistration,
}


def _checked(kind: str, registration: Any) -> Any:
    wanted = _TYPES[kind]
    if not isinstance(registration, wanted):
        raise PluginError(
            f"{kind} registration", f"{registration!r} is not a {wanted.__name__}", "See docs/plugins.md."
        )
    if registration.api_version not in hookspecs.API_VERSIONS:
        known = ", ".join(map(str, sorted(hookspecs.API_VERSIONS)))
        raise PluginError(
            f"{kind} {registration.name}",
            f"was written for plugin interface {registration.api_version}, and this xagent has {known}",
            "Install a release of the plugin that fits this xagent.",
        )
    if not isinstance(registration.name, str) or _NAME.fullmatch(registration.name) is None:
        raise PluginError(f"{kind} {registration.name!r}", "a name has no spaces, and begins with a letter or digit")
    return registration


def _check_hooks(plugin: object) -> None:
    """Catches what pluggy would never call: a hook that is misspelt, not marked, or a coroutine."""
    for name in dir(plugin):
        function = inspect.getattr_static(plugin, name)
        marked = hasattr(function, f"{hookspecs.GROUP}_impl")
        known = name in vars(hookspecs) and name.startswith("xagent_")
        if marked and not known:
            near = difflib.get_close_matches(name, vars(hookspecs), n=1)
            raise PluginError("hook", f"{name} does not exist", f"Did you mean {near[0]}?" if near else "")
        if known and not marked:
            raise PluginError("hook", f"{name} is not marked", "Write @hookimpl above it.")
        if marked and inspect.iscoroutinefunction(function):
            raise PluginError("hook", f"{name} is a coroutine function", "Hooks are plain functions.")


def load_plugins(disabled: Iterable[str] = ()) -> Plugins:
    """Loads every installed plugin of the entry-point group `xagent`.

    Args:
        disabled: Names of entry points or distributions that are left alone.

    Returns:
        What is installed, and what is broken and why. Nothing is raised for a broken plugin.
    """
    plugins = Plugins()
    off = {_normal(name) for name in disabled}
    for distribution, version, point in sorted(_entry_points(plugins.failures), key=lambda found: found[2].name):
        if off & {_normal(point.name), _normal(distribution)}:
            plugins.disabled.append(f"{distribution} {version} (entry point {point.name})")
            continue
        plugins.add(point.name, distribution, version, point.load)
    return plugins


def _entry_points(failures: list[PluginFailure]) -> list[tuple[str, str, importlib.metadata.EntryPoint]]:
    """Distribution, version and entry point of each plugin.

    It does what `importlib.metadata.entry_points` does, which fails as a whole where one distribution's file is
    damaged.
    """
    found: dict[str, list[tuple[str, str, importlib.metadata.EntryPoint]]] = {}
    for distribution in importlib.metadata.distributions():
        name = version = "unknown"
        try:
            if f"[{hookspecs.GROUP}]" not in (distribution.read_text("entry_points.txt") or ""):
                continue
            name, version = distribution.metadata["Name"] or name, distribution.metadata["Version"] or version
            # The first of a name on sys.path is the one that is imported.
            if _normal(name) not in found:
                points = [point for point in distribution.entry_points if point.group == hookspecs.GROUP]
                found[_normal(name)] = [(name, version, point) for point in points]
        except Exception as error:
            cause = f"its metadata cannot be read: {type(error).__name__}: {error}"
            failures.append(PluginFailure(name="unknown", distribution=name, version=version, cause=cause))
            found.setdefault(_normal(name), [])
    return [point for points in found.values() for point in points]


def _normal(name: str) -> str:
    """A name as the packaging standards compare them (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name.strip()).lower()
