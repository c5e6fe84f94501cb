"""Settings: defaults, then the configuration file, then the environment, then what is passed in."""

from __future__ import annotations

import contextlib
import math
import os
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final

from xagent_core.errors import ConfigError, XAgentError
from xagent_core.kinds import check_fields
from xagent_core.policy import DEFAULT_LIMITS
from xagent_core.types import Limits, parse_size

__all__ = ["PoolConfig", "Settings", "blamed_on", "check_known", "load_settings"]

_SIZES: Final = frozenset({"memory", "scratch", "output", "collect"})


@dataclass(frozen=True, kw_only=True, slots=True)
class PoolConfig:
    """How many sandboxes stand by.

    Attributes:
        ready: Kept ready at least for each spec that was used; 0 starts each sandbox when it is needed.
        ready_most: Kept ready at most: each caller who finds none ready has one more kept, and as long as none does,
            one less after each `idle_seconds`. Never less than `ready`.
        most: Sandboxes alive at once, of all specs, those that run included.
        idle_seconds: A ready sandbox is retired when nobody asked for its kind for so long.
        wait_seconds: How long a caller waits for a free place.
        refills: Sandboxes being started ahead at once: more take the CPU from the jobs that run.

    Raises:
        ConfigError: A value is too little, or of another kind.
    """

    ready: int = 1
    ready_most: int = 0
    most: int = 16
    idle_seconds: float = 300.0
    wait_seconds: float = 60.0
    refills: int = 1

    def __post_init__(self) -> None:
        bounds = {field.name: (1 if field.name in ("most", "refills") else 0, math.inf) for field in fields(self)}
        check_fields(self, bounds, component="pool")


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """All that can be configured.

    Attributes:
        backend: A backend's name, or `auto`.
        limits: The default limits; those that are left out are `DEFAULT_LIMITS`.
        pool: How many sandboxes stand by.
        disabled_plugins: Entry points or distributions that are not loaded.
        backends: Options of each backend, by its name.
        tools: Options of tools, by the name of their table.
        queue: The task queue's name.
        queue_url: Where its server is; empty for the queue's own default.
        queues: Options of each task queue, by its name.
    """

    backend: str = "auto"
    limits: Limits = DEFAULT_LIMITS
    pool: PoolConfig = field(default_factory=PoolConfig)
    disabled_plugins: tuple[str, ...] = ()
    backends: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    tools: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    queue: str = "docket"
    queue_url: str = field(default="", repr=False)  # it may hold a password
    queues: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "limits", self.limits.over(DEFAULT_LIMITS))


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
        [tools.web]
        deny_hosts = ["*.example.com"]
        [queues.docket]
        url = "redis://queue.internal:6379/0"

    The environment has `XAGENT_BACKEND`, `XAGENT_QUEUE`, `XAGENT_QUEUE_URL`, `XAGENT_DISABLED_PLUGINS`
    (comma-separated), and one variable for each limit and pool setting: `XAGENT_MEMORY`, `XAGENT_TIMEOUT`,
    `XAGENT_POOL_READY`, ...

    Args:
        environ: The environment; by default the process's own.

    Returns:
        The settings.

    Raises:
        ConfigError: The file cannot be read, or a value cannot be used; the error names the place.
    """
    env = os.environ if environ is None else environ
    settings = Settings()
    named = env.get("XAGENT_CONFIG")
    if named:
        settings = _with_file(settings, Path(named), _read(Path(named)))
    elif text := _read(path := user_config(), missing_ok=True):
        settings = _with_file(settings, path, text)
    return _with_environment(settings, env)


def user_config() -> Path:
    """Where the user's own configuration file is looked for."""
    import platformdirs

    return platformdirs.user_config_path("xagent") / "config.toml"


def _read(path: Path, *, missing_ok: bool = False) -> str:
    try:
        return path.read_text("utf-8")
    except (FileNotFoundError, NotADirectoryError) as error:
        if missing_ok:
            return ""
        raise ConfigError(str(path), f"cannot be read: {error}", "Mend XAGENT_CONFIG, or unset it.") from error
    except (OSError, ValueError) as error:
        raise ConfigError(str(path), f"cannot be read: {error}") from error


def _with_file(settings: Settings, path: Path, text: str) -> Settings:
    try:
        table = tomllib.loads(text)
    except ValueError as error:
        raise ConfigError(str(path), f"cannot be read as TOML: {error}") from error
    check_known(table, (f.name for f in fields(Settings)), str(path))
    changes: dict[str, Any] = {}
    for name, value in table.items():
        where = f"{path}: {name}"
        if name == "limits":
            changes[name] = _limits(settings.limits, _table(value, where), f"{where}.{{}}")
        elif name == "pool":
            changes[name] = _pool(settings.pool, _table(value, where), f"{where}.{{}}")
        elif name in {"backends", "queues", "tools"}:
            changes[name] = {key: _table(options, f"{where}.{key}") for key, options in _table(value, where).items()}
        elif name == "disabled_plugins":
            if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
                raise ConfigError(where, "must be a list of names")
            changes[name] = tuple(value)
        elif isinstance(value, str) and value:
            changes[name] = value
        else:
            raise ConfigError(where, f"must be a name, not {value!r}")
    return replace(settings, **changes)


def _with_environment(settings: Settings, env: Mapping[str, str]) -> Settings:
    limits = {f.name: value for f in fields(Limits) if (value := env.get(f"XAGENT_{f.name.upper()}"))}
    pool = {f.name: value for f in fields(PoolConfig) if (value := env.get(f"XAGENT_POOL_{f.name.upper()}"))}
    disabled = tuple(name.strip() for name in env.get("XAGENT_DISABLED_PLUGINS", "").split(",") if name.strip())
    return replace(
        settings,
        backend=env.get("XAGENT_BACKEND") or settings.backend,
        queue=env.get("XAGENT_QUEUE") or settings.queue,
        queue_url=env.get("XAGENT_QUEUE_URL") or settings.queue_url,
        limits=_limits(settings.limits, limits, "environment: XAGENT_{}", upper=True),
        pool=_pool(settings.pool, pool, "environment: XAGENT_POOL_{}", upper=True),
        disabled_plugins=(*settings.disabled_plugins, *disabled),
    )


def _limits(base: Limits, table: Mapping[str, Any], place: str, *, upper: bool = False) -> Limits:
    kinds = {f.name: parse_size if f.name in _SIZES else _NUMBERS[f.name] for f in fields(Limits)}
    check_known(table, kinds, place)
    for name, value in table.items():
        with blamed_on(place.format(name.upper() if upper else name)):
            change: dict[str, Any] = {name: kinds[name](value)}
            base = Limits(**change).over(base)
    return base


def _pool(base: PoolConfig, table: Mapping[str, Any], place: str, *, upper: bool = False) -> PoolConfig:
    kinds = {f.name: _real if f.name.endswith("_seconds") else _whole for f in fields(PoolConfig)}
    check_known(table, kinds, place)
    for name, value in table.items():
        with blamed_on(place.format(name.upper() if upper else name)):
            change: dict[str, Any] = {name: kinds[name](value)}
            base = replace(base, **change)
    return base


@contextlib.contextmanager
def blamed_on(place: str) -> Iterator[None]:
    """Says where a value stands that cannot be used.

    Raises:
        ConfigError: What was raised within cannot be used there.
    """
    try:
        yield
    except XAgentError as error:
        raise ConfigError(place, error.cause, error.fix) from error
    except (TypeError, ValueError) as error:
        raise ConfigError(place, f"cannot be used: {error}") from error


def check_known(table: Mapping[str, Any], known: Iterable[str], place: str) -> None:
    """Refuses names that no setting has.

    Raises:
        ConfigError: There is one; the error names those that are known.
    """
    names = sorted(known)
    if unknown := sorted(set(table) - set(names)):
        place = place.replace(".{}", "")
        raise ConfigError(place, f"unknown setting {unknown[0]!r}", f"Known are {', '.join(names)}.")


def _table(value: object, where: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ConfigError(where, "must be a table")
    return value


def _whole(value: Any) -> int:
    if isinstance(value, bool | float):
        raise ValueError(f"{value!r} is no whole number")
    return int(value)


def _real(value: Any) -> float:
    if isinstance(value, bool):
        raise ValueError(f"{value!r} is no number")
    return float(value)


_NUMBERS: Final[Mapping[str, Callable[[Any], float]]] = {"processes": _whole, "cpus": _real, "timeout": _real}
