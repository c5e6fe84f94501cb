"""Looks registrations up by name and alias, and says why one cannot be had."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from xagent_core.errors import DuplicatePluginError, UnknownLanguageError, UnknownPluginError, XAgentError

__all__ = ["Catalogue", "PluginFailure"]


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
        self._owners.setdefault(registration.name.lower(), []).append(owned)
        aliases = {alias.lower() for alias in getattr(registration, "aliases", ())}
        for alias in aliases - {registration.name.lower()}:
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
        """The registration of that name or alias, in upper or lower case.

        Raises:
            DuplicatePluginError: Two distributions provide it.
            UnknownPluginError: None does.
            UnknownLanguageError: None does, and languages are what this catalogue holds.
        """
        return self._find(name).registration

    def _owners_of(self, name: str) -> list[_Owned[R]]:
        """Who provides a name; nobody's alias takes another's name away."""
        return self._owners.get(name.lower()) or self._aliases.get(name.lower(), [])

    def _find(self, name: str) -> _Owned[R]:
        owners = self._owners_of(name)
        if not owners:
            raise self.unknown(name)
        if len(owners) > 1:
            raise DuplicatePluginError(
                f"{self._kind} {name}",
                f"provided by {_names(owners)}",
                "Uninstall one, or name its entry point or distribution in XAGENT_DISABLED_PLUGINS.",
            )
        return owners[0]

    def duplicates(self) -> list[str]:
        """One line for each name or alias that more than one registration claims."""
        claims = {name: self._owners.get(name, []) + self._aliases.get(name, []) for name in self._all_names()}
        return [
            f"{self._kind} {name} is provided by {_names(owners)}" for name, owners in claims.items() if len(owners) > 1
        ]

    def _all_names(self) -> list[str]:
        return sorted({*self._owners, *self._aliases})

    def unknown(self, name: str, *, built_in: Iterable[str] = (), hint: str = "") -> XAgentError:
        """The error for a name that is not there: what is meant perhaps, what there is, and what is broken.

        Args:
            name: What was asked for.
            built_in: What there is of this kind that no plugin brings.
            hint: Where to look further.
        """
        near = difflib.get_close_matches(name.lower(), [*built_in, *self._all_names()], n=3)
        fix = f"Did you mean {' or '.join(near)}? " if near else ""
        fix += f"Installed: {', '.join(sorted({*built_in, *self._owners})) or 'none'}." + (f" {hint}" if hint else "")
        fix += "" if near else " Install a plugin that provides it."
        if self._failures:
            fix += f" Broken plugins: {'; '.join(map(str, self._failures))}."
        error = UnknownLanguageError if self._kind == "language" else UnknownPluginError
        return error(f"{self._kind} {name}", "no installed plugin provides it", fix)


def _names(owners: Iterable[_Owned[Any]]) -> str:
    return " and by ".join(sorted(owned.distribution for owned in owners))
