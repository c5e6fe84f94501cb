"""Every check of the repository: CI calls these sessions and nothing else. `nox -l` lists them.

Plain `nox` runs what a developer wants before a push. With `CI` set in the environment it runs everything, and a
test whose engine is missing then fails. Nothing needs to be installed beforehand but nox itself.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nox

nox.needs_version = ">=2025.5.1"
nox.options.default_venv_backend = "uv|venv"
nox.options.download_python = "never"
nox.options.error_on_missing_interpreters = False
nox.options.reuse_venv = "yes"

CI = bool(os.environ.get("CI"))
# The engines come last, so that the log of CI ends with the closing line of the whole test suite.
nox.options.sessions = (
    ["lint", "types", "imports", "demo", "min_versions", "matrix", "engines"]
    if CI
    else ["lint", "types", "imports", "tests"]
)

ROOT = Path(__file__).parent
PLUGINS = sorted(file.parent for file in ROOT.glob("plugins/**/pyproject.toml") if "_template" not in file.parts)
LANGUAGES = [folder for folder in PLUGINS if folder.parent.name == "languages"]
ENGINES = [folder.name for folder in PLUGINS if folder.parent.name == "backends"]
PYTHONS = ["3.11", "3.12", "3.13"]
DEBIAN = {"dockerd": "docker.io", "podman": "podman", "runc": "runc", "newuidmap": "uidmap",
          "mmdebstrap": "mmdebstrap", "bwrap": "bubblewrap", "pgrep": "procps",
          "redis-server": "redis-server", "rabbitmq-server": "rabbitmq-server",
          "prometheus": "prometheus", "amtool": "prometheus-alertmanager",
          "docker-compose": "docker-compose", "chromium": "chromium"}  # fmt: skip

# What runs inside sees neither on which Python xagent runs nor its dependencies.
INSIDE = [f"--ignore-glob={pattern}" for pattern in (
    "tests/languages/*", "plugins/languages/*/tests/test_conformance.py", "tests/security/*", "tests/test_load.py",
    "tests/cli/test_examples.py", "tests/cli/test_real_engines.py",
)]  # fmt: skip

# Podman gets Docker's images: to build them twice would take as long again.
SHARE_IMAGES = """
for language; do
  image=xagent-runtime-$language:latest
  there=$(podman image inspect -f 'sha256:{{.Id}}' "$image" 2>/dev/null || :)
  [ "$(docker image inspect -f '{{.Id}}' "$image")" = "$there" ] || docker save "$image" | podman load -q
done
"""

# pyenv's own programs for the versions that are not in use refuse to run: their folders come after what is on PATH.
PYENV = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv", "versions")
os.environ["PATH"] = os.pathsep.join(
    [os.environ["PATH"], *(str(path) for version in PYTHONS for path in sorted(PYENV.glob(f"{version}.*/bin")))]
)
THIS = f"{sys.version_info.major}.{sys.version_info.minor}"
# The oldest dependencies take a Python that no other session of CI runs on, where this machine has one.
BETWEEN = next((name for name in PYTHONS[1:-1] if name != THIS and shutil.which(f"python{name}")), THIS)


@nox.session
def tests(session: nox.Session) -> None:
    """All tests but slow ones that need no engine or one that answers; with CI set, those of every engine."""
    install(session, "test")
    pytest(session, "-m", "not slow")


@nox.session
def engines(session: nox.Session) -> None:
    """All tests, slow ones too; installs and starts the engines that are missing (Debian and Ubuntu, as root)."""
    install(session, "test")
    pytest(session, with_engines=True)


@nox.session
@nox.parametrize("backend", ENGINES)
def conformance(session: nox.Session, backend: str) -> None:
    """What every backend must keep: its own suite, the suite of each language on it, and hostile programs in it."""
    install(session, "test")
    suites = [str(file) for file in ROOT.glob("plugins/*/*/tests/test_conformance.py")]
    pytest(session, "-k", backend, *suites, "tests/security", with_engines=True)


@nox.session(python=PYTHONS)
def matrix(session: nox.Session) -> None:
    """The tests on each supported Python that this machine has; in CI, on those that no other session runs on."""
    if CI and session.python in (THIS, BETWEEN):
        session.skip(f"the session {'engines' if session.python == THIS else 'min_versions'} runs on this Python")
    install(session, "test")
    pytest(session, "-m", "not slow", *INSIDE)


@nox.session(python=BETWEEN)
def min_versions(session: nox.Session) -> None:
    """The tests with the oldest dependencies that the pyproject files allow."""
    if session.venv_backend != "uv":
        session.skip("only uv can choose the oldest versions: pip install uv")
    install(session, "test", options=["--resolution", "lowest-direct"])
    pytest(session, "-m", "not slow", *INSIDE)


@nox.session
def lint(session: nox.Session) -> None:
    """Ruff's rules and its format."""
    session.install(*group("lint"))
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")


@nox.session
def types(session: nox.Session) -> None:
    """Strict mypy over core and every plugin."""
    install(session, "test", "types")
    session.run("mypy", *(word for name in ("xagent_core", *packages()) for word in ("-p", name)))
    session.run("mypy", "noxfile.py", "benchmarks")


@nox.session
def imports(session: nox.Session) -> None:
    """Imports point one way, plugins know only core, and importing core loads nothing heavy."""
    install(session, "lint")
    session.run("lint-imports")
    rules = Path(session.create_tmp(), "importlinter.toml")
    rules.write_text(plugin_rules(packages()), "utf-8")
    session.run("lint-imports", "--config", str(rules))
    heavy = {"docker", "langchain_core", "podman", "pydantic", "rich", "typer", *packages()}
    check = f"import sys, xagent_core; loaded = sys.modules.keys() & {sorted(heavy)}; assert not loaded, loaded"
    session.run("python", "-c", check)


@nox.session
def demo(session: nox.Session) -> None:
    """Runs the examples in a sandbox without daemon, root or image; `-- FILE [OPTIONS]` runs a file of yours."""
    session.install("-e", ".", *editable(ROOT / "plugins/backends/bubblewrap", *LANGUAGES))
    command = "xagent run --backend bubblewrap"
    if session.posargs:
        file = Path(session.invoked_from, session.posargs[0])
        session.run(*command.split(), str(file), *session.posargs[1:])
        return
    results = Path(session.create_tmp())
    for program in (f"examples/totals.{ending}" for ending in ("py", "js", "ts", "sh", "go")):
        if program.endswith(".go"):
            session.log("the first Go program has Go's standard library compiled, once: this takes a while")
        options = f"--file examples/sales.csv --collect totals.json --output-dir {results}"
        session.run("sh", "-c", f"echo north south | {command} {options} {program}", external=True)
        session.log(f"{program} wrote totals.json: {Path(results, 'totals.json').read_text('utf-8').strip()}")


@nox.session
def page(session: nox.Session) -> None:
    """Rebuilds the editor of the web page from the npm packages that it is made of; needs npm."""
    session.run("sh", "plugins/servers/langserve/web/build.sh", external=True)


@nox.session
def bench(session: nox.Session) -> None:
    """Measures xagent beside bare interpreters, engines and peers; `-- --rounds 30` for finer percentiles."""
    install(session, "test")
    install_engines(session)
    with docker_daemon(session):
        session.run("xagent", "images", "build")
        session.run("python", "-m", "benchmarks", *session.posargs)


@nox.session
def bench_queues(session: nox.Session) -> None:
    """Compares task queues with a real Redis and writes the evaluation's tables; takes about ten minutes."""
    session.install("-e", ".", "uv")
    install_debian(session, "redis-server")
    session.run("python", "-m", "benchmarks.queues", *session.posargs)


@nox.session
def bench_guards(session: nox.Session) -> None:
    """Judges guards against requests to the inside by the web tools' table of attacks, and writes what came of it."""
    session.install("-e", ".", "-e", "plugins/tools/web", "drawbridge", "httpx-secure", "microsoft-antissrf")
    session.run("python", "-m", "benchmarks.guards", *session.posargs)


def install(session: nox.Session, *groups: str, options: list[str] | None = None) -> None:
    """Installs core and every plugin from the checkout, with all their extras, and what is in these groups."""
    session.install(*(options or []), *editable(ROOT, *PLUGINS), *group(*groups))


def editable(*folders: Path) -> list[str]:
    """What makes pip install these distributions from the checkout, with all their extras."""
    words = []
    for folder in folders:
        extras = nox.project.load_toml(folder / "pyproject.toml")["project"].get("optional-dependencies", {})
        words += ["-e", f"{folder}[{','.join(extras)}]" if extras else str(folder)]
    return words


def group(*names: str) -> list[str]:
    """The requirements of these dependency groups."""
    return list(nox.project.dependency_groups(nox.project.load_toml(ROOT / "pyproject.toml"), *names))


def packages() -> list[str]:
    """The import packages of the plugins."""
    return [file.parent.name for folder in PLUGINS for file in sorted(folder.glob("*/py.typed"))]


def pytest(session: nox.Session, *options: str, with_engines: bool = CI) -> None:
    """Runs pytest, three tests at a time, or as `-- ARGUMENTS` say; with every engine, or with those that answer."""
    # Some wait: on two cores three at a time are done earlier.
    arguments = session.posargs or ["-n3", "--dist=loadgroup", "--timeout=300", "--durations=15", *options]
    if not with_engines:
        session.run("pytest", *arguments)
        return
    install_engines(session)
    with docker_daemon(session):
        session.run("xagent", "images", "build")
        session.run("sh", "-ec", SHARE_IMAGES, "sh", *(folder.name for folder in LANGUAGES), external=True)
        required = ",".join([*ENGINES, "redis-server", "rabbitmq-server"])
        session.run("pytest", *arguments, env={"XAGENT_REQUIRE_ENGINES": required})


def plugin_rules(names: list[str]) -> str:
    """The import rules of the plugins for import-linter: they know neither each other, nor does core know them."""
    rules: dict[str, Any] = {
        "no plugin imports another": {"type": "independence", "modules": names},
        "core imports no plugin": {
            "type": "forbidden", "source_modules": ["xagent_core"], "forbidden_modules": names,
        },
    }  # fmt: skip
    text = f"[tool.importlinter]\nroot_packages = {['xagent_core', *names]}\n"
    for title, rule in rules.items():
        text += f"[[tool.importlinter.contracts]]\nname = {title!r}\n"
        text += "".join(f"{key} = {value!r}\n" for key, value in rule.items())
    return text


def install_engines(session: nox.Session) -> None:
    """Installs the Debian packages of the engines, and of what else the tests start, as far as they are missing."""
    install_debian(session, *DEBIAN)


def install_debian(session: nox.Session, *programs: str) -> None:
    """Installs the Debian packages of these programs, as far as they are missing."""
    missing = [DEBIAN[program] for program in programs if shutil.which(program) is None]
    if not missing:
        return
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        session.error(f"install {', '.join(missing)}, or run this as root on Debian or Ubuntu")
    # Without systemd, packages would start their daemons through runlevels: this one is started, and stopped, here.
    env = {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    session.run("apt-get", "update", "-q", external=True, env=env)
    session.run("apt-get", "install", "-qy", "--no-install-recommends", *missing, external=True, env=env)


@contextlib.contextmanager
def docker_daemon(session: nox.Session) -> Iterator[None]:
    """Docker's daemon: the one that answers, else one that lives until the end of the session."""
    ping = [f"{session.bin}/python", "-c", "import docker; docker.from_env().ping()"]
    if subprocess.run(ping, capture_output=True, check=False).returncode == 0:
        yield
        return
    if os.geteuid() != 0:
        session.error("Docker's daemon does not answer: start it, or run this as root")
    log = Path(session.cache_dir, "dockerd.log")
    with log.open("wb") as output:
        daemon = subprocess.Popen(["dockerd"], stdout=output, stderr=output)
    try:
        deadline = time.monotonic() + 60
        while subprocess.run(ping, capture_output=True, check=False).returncode != 0:
            if daemon.poll() is not None or time.monotonic() > deadline:
                session.error(f"dockerd does not start:\n{log.read_text('utf-8', 'replace')[-3000:]}")
            time.sleep(0.3)
        yield
    finally:
        daemon.terminate()
        daemon.wait(60)
