"""Defaults, then the file, then the environment; a bad value's error names its place."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from xagent_core import ConfigError, Limits, PoolConfig, Settings, load_settings
from xagent_core.policy import DEFAULT_LIMITS

MIB = 2**20


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch) -> Path:
    """A user without settings."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return tmp_path


def write(home: Path, text: str) -> dict[str, str]:
    """Writes the file that XAGENT_CONFIG names."""
    path = home / "settings.toml"
    path.write_text(text)
    return {"XAGENT_CONFIG": str(path)}


def test_without_anything_there_are_defaults():
    assert load_settings({}) == Settings()
    assert load_settings({}).limits == DEFAULT_LIMITS


def test_the_file_goes_before_the_defaults_and_the_environment_before_the_file(home):
    env = write(
        home,
        """
        backend = "docker"
        disabled_plugins = ["one"]
        [limits]
        memory = "256m"
        timeout = 5
        [pool]
        ready = 2
        most = 3
        [backends.docker]
        runtime = "runsc"
        [tools.web]
        deny_hosts = ["example.com"]
        """,
    )
    settings = load_settings(env)
    assert settings.backend == "docker"
    assert settings.limits == Limits(memory=256 * MIB, timeout=5.0).over(DEFAULT_LIMITS)
    assert settings.pool == PoolConfig(ready=2, most=3)
    assert settings.disabled_plugins == ("one",)
    assert settings.backends == {"docker": {"runtime": "runsc"}}
    assert settings.tools == {"web": {"deny_hosts": ["example.com"]}}

    settings = load_settings(
        {
            **env,
            "XAGENT_BACKEND": "bubblewrap",
            "XAGENT_MEMORY": "64m",
            "XAGENT_CPUS": "1.5",
            "XAGENT_PROCESSES": "32",
            "XAGENT_POOL_READY": "0",
            "XAGENT_POOL_WAIT_SECONDS": "0.5",
            "XAGENT_DISABLED_PLUGINS": " two , three,",
        }
    )
    assert settings.backend == "bubblewrap"
    assert settings.limits == Limits(memory=64 * MIB, timeout=5.0, cpus=1.5, processes=32).over(DEFAULT_LIMITS)
    assert settings.pool == PoolConfig(ready=0, most=3, wait_seconds=0.5)
    assert settings.disabled_plugins == ("one", "two", "three")


def test_the_users_own_file_is_found(home):
    (home / "xagent").mkdir()
    (home / "xagent" / "config.toml").write_text('backend = "mine"')
    assert load_settings({}).backend == "mine"
    assert load_settings(write(home, 'backend = "named"')).backend == "named"


def test_the_process_environment_is_the_default(monkeypatch):
    monkeypatch.setenv("XAGENT_BACKEND", "fake")
    assert load_settings().backend == "fake"


def test_empty_variables_say_nothing():
    assert load_settings({"XAGENT_BACKEND": "", "XAGENT_MEMORY": "", "XAGENT_CONFIG": ""}) == Settings()


@pytest.mark.parametrize(
    ("text", "place", "cause"),
    [
        ("backend = 5", ": backend", "must be a name, not 5"),
        ("backend = ''", ": backend", "must be a name"),
        ("bakend = 'x'", "", "unknown setting 'bakend'. Known are backend, "),
        ("disabled_plugins = 'x'", ": disabled_plugins", "must be a list of names"),
        ("disabled_plugins = [1]", ": disabled_plugins", "must be a list of names"),
        ("limits = 5", ": limits", "must be a table"),
        ("[limits]\nmemroy = '1m'", ": limits", "unknown setting 'memroy'. Known are collect, "),
        ("[limits]\nmemory = 'lots'", ": limits.memory", "'lots' is not a size"),
        ("[limits]\nmemory = '1k'", ": limits.memory", "limit memory=1024 is out of bounds"),
        ("[limits]\nprocesses = 8.5", ": limits.processes", "cannot be used: 8.5 is no whole number"),
        ("[limits]\ntimeout = true", ": limits.timeout", "cannot be used: True is no number"),
        ("[limits]\ntimeout = nan", ": limits.timeout", "limit timeout must be a number, not nan"),
        ("[limits]\ntimeout = []", ": limits.timeout", "cannot be used: "),
        ("[pool]\nreadi = 1", ": pool", "unknown setting 'readi'"),
        ("[pool]\nready = -1", ": pool.ready", "ready=-1 is out of bounds"),
        ("[pool]\nready = 1.5", ": pool.ready", "cannot be used: 1.5 is no whole number"),
        ("[pool]\nmost = 0", ": pool.most", "most=0 is out of bounds. It is at least 1"),
        ("[pool]\nwait_seconds = nan", ": pool.wait_seconds", "wait_seconds=nan is out of bounds"),
        ("[backends]\ndocker = 'x'", ": backends.docker", "must be a table"),
        ("[tools]\nweb = 'x'", ": tools.web", "must be a table"),
        ("backend = ", "", "cannot be read as TOML"),
    ],
)
def test_a_bad_value_in_the_file_is_named_with_its_place(home, text, place, cause):
    env = write(home, text)
    with pytest.raises(ConfigError) as caught:
        load_settings(env)
    assert caught.value.component == env["XAGENT_CONFIG"] + place
    assert cause in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "cause"),
    [
        ("XAGENT_MEMORY", "lots", "'lots' is not a size"),
        ("XAGENT_MEMORY", "1", "limit memory=1 is out of bounds"),
        ("XAGENT_TIMEOUT", "soon", "cannot be used: could not convert"),
        ("XAGENT_TIMEOUT", "-1", "out of bounds"),
        ("XAGENT_PROCESSES", "many", "cannot be used: invalid literal"),
        ("XAGENT_POOL_MOST", "0", "is out of bounds"),
        ("XAGENT_POOL_REFILLS", "x", "cannot be used"),
    ],
)
def test_a_bad_value_in_the_environment_is_named_with_its_variable(name, value, cause):
    with pytest.raises(ConfigError) as caught:
        load_settings({name: value})
    assert caught.value.component == f"environment: {name}"
    assert cause in str(caught.value)


def test_a_file_that_is_named_must_be_there(home):
    with pytest.raises(ConfigError, match=r"none\.toml: cannot be read.*Mend XAGENT_CONFIG"):
        load_settings({"XAGENT_CONFIG": str(home / "none.toml")})
    with pytest.raises(ConfigError, match="cannot be read"):
        load_settings({"XAGENT_CONFIG": str(home)})


def test_a_file_that_is_no_text(home):
    (home / "settings.toml").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_settings({"XAGENT_CONFIG": str(home / "settings.toml")})


def test_settings_of_a_program_need_not_set_every_limit():
    assert Settings(limits=Limits(memory=64 * MIB)).limits == Limits(memory=64 * MIB).over(DEFAULT_LIMITS)


def test_a_pool_that_could_not_work_is_refused():
    with pytest.raises(ConfigError, match="pool: refills=0 is out of bounds"):
        PoolConfig(refills=0)
    with pytest.raises(ConfigError, match="idle_seconds=nan"):
        PoolConfig(idle_seconds=math.nan)
    with pytest.raises(ConfigError, match=r"most must be a whole number, not 2\.5"):
        PoolConfig(most=2.5)
