"""Settings: defaults, then the configuration file, then the environment, then what is passed in."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final

from xagent_core.errors import ConfigError, XAgentError
from xagent_core.policy import DEFAULT_LIMITS
from xagent_core.types import Limits, parse_size

__all__ = ["PoolConfig", "Settings", "load_settings"]

_SIZES: Final = frozenset({"memory", "scratch", "output", "collect"})


@dataclass(frozen=True, kw_only=True, slots=True)
class PoolConfig:
    """How many sandboxes stand by.

    Attributes:
        ready: Kept ready for each spec that was used; 0 starts each sandbox when it is needed.
        most: Sandboxes alive at once, of all specs, those that run included.
        idle_seconds: A ready sandbox is retired when nobody asked for its kind for so long.
        wait_seconds: How long a caller waits for a free place.
        refills: Sandboxes being started ahead at once: more take the CPU from the jobs that run.
    """

    ready: int = 1
    most: int = 16
    idle_seconds: float = 300.0
    wait_seconds: float = 60.0
    refills: int = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """All that can be configured.

    Attributes:
        backend: A backend's name, or `auto`.
        limits: The default limits; every one is set.
        pool: How many sandboxes stand by.
        disabled_plugins: Entry points or distributions that are not loaded.
        backends: Options of each backend, by its name.
    """

    backend: str = "auto"
    limits: Limits = DEFAULT_LIMITS
    pool: PoolConfig = field(default_factory=PoolConfig)
    disabled_plugins: tuple[str, ...] = ()
    backends: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def load_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Reads the configuration file and the environment.

    The file is `XAGENT_CONFIG`, else `xagent/config.toml` in the user's configuration folder, where it exists:

        backend = "docker"
        disabled_plugins = ["xagent-bubblewrap"]
        [limits]
        memory = "256m"
        [pool]
        ready = 2
        [backends.docker]
        runtime = "runsc"

    The environment has `XAGENT_BACKEND`, `XAGENT_DISABLED_PLUGINS` (comma-separated), and one variable for each
    limit and pool setting: `XAGENT_MEMORY`, `XAGENT_TIMEOUT`, `XAGENT_POOL_READY`, ...

    Args:
        environ: The environment; by default the process's own.

    Returns:
        The settings.

    Raises:
        ConfigError: The file cannot be read, or a value cannot be used; the error names the place.
    """
    env = os.environ if environ is None else environ
    settings = Settings()
    import platformdirs

    named = env.get("XAGENT_CONFIG")
    path = Path(named) if named else platformdirs.user_config_path("xagent") / "config.toml"
    if named or path.is_file():
        settings = _with_file(settings, path)
    return _with_environment(settings, env)


def _with_file(settings: Settings, path: Path) -> Settings:
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(str(path), f"cannot be read: {error}", "Mend the file, or unset XAGENT_CONFIG.") from error
    known = {f.name for f in fields(Settings)}
    if unknown := sorted(set(table) - known):
        raise ConfigError(str(path), f"unknown setting {unknown[0]!r}", f"Known are {', '.join(sorted(known))}.")
    changes: dict[str, Any] = {}
    for name, value in table.items():
        where = f"{path}: {name}"
        if name == "limits":
            changes[name] = _limits(settings.limits, _table(value, where), where)
        elif name == "pool":
            changes[name] = _pool(settings.pool, _table(value, where), where)
        elif name == "backends":
            changes[name] = {key: _table(options, f"{where}.{key}") for key, options in _table(value, where).items()}
        elif name == "disabled_plugins":
            if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
                raise ConfigError(where, "must be a list of names")
            changes[name] = tuple(value)
        else:
            changes[name] = str(value)
    return replace(settings, **changes)


def _with_environment(settings: Settings, env: Mapping[str, str]) -> Settings:
    limits = {f.name: value for f in fields(Limits) if (value := env.get(f"XAGENT_{f.name.upper()}"))}
    pool = {f.name: value for f in fields(PoolConfig) if (value := env.get(f"XAGENT_POOL_{f.name.upper()}"))}
    disabled = tuple(name.strip() for name in env.get("XAGENT_DISABLED_PLUGINS", "").split(",") if name.strip())
    return replace(
        settings,
        backend=env.get("XAGENT_BACKEND") or settings.backend,
        limits=_limits(settings.limits, limits, "environment XAGENT_"),
        pool=_pool(settings.pool, pool, "environment XAGENT_POOL_"),
        disabled_plugins=(*settings.disabled_plugins, *disabled),
    )


def _limits(base: Limits, table: Mapping[str, Any], where: str) -> Limits:
    values = _converted(
        table,
        {f.name: parse_size if f.name in _SIZES else int if f.name == "processes" else float for f in fields(Limits)},
        where,
    )
    try:
        return Limits(**values).over(base)
    except XAgentError as error:
        raise ConfigError(where, error.cause, error.fix) from error


def _pool(base: PoolConfig, table: Mapping[str, Any], where: str) -> PoolConfig:
    kinds = {f.name: float if f.name.endswith("_seconds") else int for f in fields(PoolConfig)}
    config = replace(base, **_converted(table, kinds, where))
    if config.most < 1 or config.ready < 0:
        raise ConfigError(where, "pool.most must be at least 1 and pool.ready not negative")
    return config


def _converted(table: Mapping[str, Any], kinds: Mapping[str, Callable[[Any], Any]], where: str) -> dict[str, Any]:
    values = {}
    for name, value in table.items():
        if name not in kinds:
            raise ConfigError(where, f"unknown setting {name!r}", f"Known are {', '.join(kinds)}.")
        try:
            values[name] = kinds[name](value)
        except (TypeError, ValueError, XAgentError) as error:
            raise ConfigError(where, f"{name}={value!r} cannot be used: {error}") from error
    return values


def _table(value: object, where: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ConfigError(where, "must be a table")
    return value
