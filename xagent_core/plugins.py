"""Finds installed plugins, keeps a broken one from breaking the others, and looks registrations up by name."""

from __future__ import annotations

import difflib
import importlib.metadata
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, Protocol, TypeVar

import pluggy

from xagent_core import hookspecs
from xagent_core.abc.backend import BackendRegistration
from xagent_core.abc.command import CommandRegistration
from xagent_core.abc.language import Language
from xagent_core.abc.queue import QueueRegistration
from xagent_core.abc.tool import ToolRegistration
from xagent_core.errors import DuplicatePluginError, PluginError, UnknownLanguageError, UnknownPluginError, XAgentError

__all__ = ["Catalogue", "LoadedPlugin", "PluginFailure", "Plugins", "load_plugins"]

logger = logging.getLogger(__name__)


class Registration(Protocol):
    """What all registrations have in common."""

    @property
    def name(self) -> str: ...
    @property
    def summary(self) -> str: ...
    @property
    def api_version(self) -> int: ...


R = TypeVar("R", bound=Registration)


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadedPlugin:
    """A plugin that works.

    Attributes:
        name: The entry point's name.
        distribution: What pip calls it.
        version: Its version.
        provides: `backend docker`, `language go`, ...
    """

    name: str
    distribution: str
    version: str
    provides: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class PluginFailure:
    """A plugin, or a part of one, that cannot be used, and why."""

    name: str
    distribution: str
    version: str
    cause: str

    def __str__(self) -> str:
        return f"{self.distribution} {self.version} (entry point {self.name}): {self.cause}"


@dataclass(frozen=True, slots=True)
class _Owned(Generic[R]):
    registration: R
    distribution: str


class Catalogue(Generic[R]):
    """The registrations of one kind, by name and alias.

    Args:
        kind: What an error calls them.
        failures: Named in the error for a name that is not there, since a broken plugin may be why.
    """

    def __init__(self, kind: str, failures: Sequence[PluginFailure]) -> None:
        self._kind = kind
        self._failures = failures
        self._owners: dict[str, list[_Owned[R]]] = {}
        self._aliases: dict[str, list[_Owned[R]]] = {}

    def add(self, registration: R, distribution: str) -> None:
        """Adds a registration; one whose name is taken stays, and makes that name an error."""
        owned = _Owned(registration, distribution)
        self._owners.setdefault(registration.name, []).append(owned)
        for alias in getattr(registration, "aliases", ()):
            self._aliases.setdefault(alias, []).append(owned)

    def __iter__(self) -> Iterator[R]:
        """What can be used, by name; names that two distributions claim are left out."""
        return (owners[0].registration for _, owners in sorted(self._owners.items()) if len(owners) == 1)

    def __contains__(self, name: str) -> bool:
        """Whether any distribution provides that name or alias."""
        return bool(self._owners_of(name))

    def distribution(self, name: str) -> str:
        """Which distribution provides `name`."""
        return self._find(name).distribution

    def __getitem__(self, name: str) -> R:
        """The registration of that name or alias.

        Raises:
            DuplicatePluginError: Two distributions provide it.
            UnknownPluginError: None does.
            UnknownLanguageError: None does, and languages are what this catalogue holds.
        """
        return self._find(name).registration

    def _owners_of(self, name: str) -> list[_Owned[R]]:
        return self._owners.get(name) or self._aliases.get(name) or self._owners.get(name.lower(), [])

    def _find(self, name: str) -> _Owned[R]:
        owners = self._owners_of(name)
        if not owners:
            raise self._unknown(name)
        if len(owners) > 1:
            raise DuplicatePluginError(
                f"{self._kind} {name}",
                f"provided by {' and by '.join(sorted(o.distribution for o in owners))}",
                "Uninstall one, or name its entry point in XAGENT_DISABLED_PLUGINS.",
            )
        return owners[0]

    def duplicates(self) -> list[str]:
        """One line for each name that more than one distribution provides."""
        return [
            f"{self._kind} {name} is provided by {' and by '.join(sorted(o.distribution for o in owners))}"
            for name, owners in sorted(self._owners.items())
            if len(owners) > 1
        ]

    def _unknown(self, name: str) -> XAgentError:
        names = sorted(self._owners)
        near = difflib.get_close_matches(name.lower(), [*names, *self._aliases], n=3)
        fix = f"Did you mean {' or '.join(near)}? " if near else ""
        fix += f"Installed: {', '.join(names) or 'none'}."
        if self._failures:
            fix += f" Broken plugins: {'; '.join(map(str, self._failures))}."
        error = UnknownLanguageError if self._kind == "language" else UnknownPluginError
        return error(f"{self._kind} {name}", "no installed plugin provides it", fix)


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
        self.commands: Catalogue[CommandRegistration] = Catalogue("command", self.failures)
        self._pm = pluggy.PluginManager(hookspecs.GROUP)
        self._pm.add_hookspecs(hookspecs)

    def duplicates(self) -> list[str]:
        """One line for each name that more than one distribution provides."""
        catalogues: Iterable[Catalogue[Any]] = (
            self.backends, self.languages, self.tools, self.queues, self.commands,
        )  # fmt: skip
        return [line for catalogue in catalogues for line in catalogue.duplicates()]

    def language_for_file(self, name: str) -> Language | None:
        """The language whose extension the file name ends in; None where there is none."""
        matches = [(len(e), lang) for lang in self.languages for e in lang.extensions if name.endswith(e)]
        return max(matches, key=lambda match: match[0])[1] if matches else None

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
            self._pm.register(plugin, name=f"{distribution}:{name}")
            _check_hook_names(plugin)
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
                registrations = [_checked(kind, registration) for registration in function()]
            except Exception as error:
                failed(f"{hook}: {type(error).__name__}: {error}")
                continue
            catalogue: Catalogue[Any] = getattr(self, hook.removeprefix("xagent_register_"))
            for registration in registrations:
                catalogue.add(registration, distribution)
                provides.append(f"{kind} {registration.name}")
        self.loaded.append(
            LoadedPlugin(name=name, distribution=distribution, version=version, provides=tuple(provides))
        )


_REGISTERING: Final[Mapping[str, str]] = {
    "backend": "xagent_register_backends",
    "language": "xagent_register_languages",
    "tool": "xagent_register_tools",
    "queue": "xagent_register_queues",
    "command": "xagent_register_commands",
}
_TYPES: Final[Mapping[str, Any]] = {
    "backend": BackendRegistration,
    "language": Language,
    "tool": ToolRegistration,
    "queue": QueueRegistration,
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
    return registration


def _check_hook_names(plugin: object) -> None:
    """Catches a misspelt hook, which pluggy would otherwise never call."""
    for name in vars(plugin) if hasattr(plugin, "__dict__") else ():
        if name.startswith("xagent_") and not hasattr(hookspecs, name):
            near = difflib.get_close_matches(name, vars(hookspecs), n=1)
            raise PluginError("hook", f"{name} does not exist", f"Did you mean {near[0]}?" if near else "")


def load_plugins(disabled: Iterable[str] = ()) -> Plugins:
    """Loads every installed plugin of the entry-point group `xagent`.

    Args:
        disabled: Names of entry points or distributions that are left alone.

    Returns:
        What is installed, and what is broken and why. Nothing is raised for a broken plugin.
    """
    plugins = Plugins()
    off = {name.strip().lower() for name in disabled}
    for point in sorted(importlib.metadata.entry_points(group=hookspecs.GROUP), key=lambda p: p.name):
        distribution = point.dist.name if point.dist else "unknown"
        version = point.dist.version if point.dist else ""
        if point.name.lower() in off or distribution.lower() in off:
            plugins.disabled.append(f"{distribution} {version} (entry point {point.name})")
            continue
        plugins.add(point.name, distribution, version, point.load)
    return plugins
