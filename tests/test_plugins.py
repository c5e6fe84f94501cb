"""Plugins are found by their distributions' metadata, and a broken one breaks nothing else and says what is wrong.

Every distribution here is a real one: a module and a dist-info folder on `sys.path`.
"""

from __future__ import annotations

import importlib
import itertools
import logging
import sys
import textwrap
from pathlib import Path

import pytest

from xagent_core import (
    BackendRegistration,
    BackendUnavailableError,
    DuplicatePluginError,
    Engine,
    ExecutionRequest,
    Language,
    Settings,
    UnknownLanguageError,
    UnknownPluginError,
    get_backend,
)
from xagent_core.plugins import Plugins, load_plugins
from xagent_core.testing.fakes import FakeBackend

LANGUAGE = """
    from xagent_core import Language, hookimpl

    @hookimpl
    def xagent_register_languages():
        return [Language(name="{name}", aliases={aliases}, extensions=(".{name}",), executables=("{name}",),
                         run=("{name}", "{{source}}"))]
"""


def language(name: str, *aliases: str) -> str:
    return LANGUAGE.format(name=name, aliases=aliases)


NUMBERS = itertools.count()  # No two tests may share a module's name.


class Site:
    """A folder on `sys.path` that distributions are installed in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def install(self, distribution: str, code: str, *, version: str = "1.0", name: str = "", lines: str = "") -> None:
        """Writes a distribution with one plugin; `lines` instead of its entry points."""
        module = f"plugin_{next(NUMBERS)}"
        (self.folder / f"{module}.py").write_text(textwrap.dedent(code))
        info = self.folder / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        entry = name or distribution.removeprefix("xagent-")
        (info / "entry_points.txt").write_text(lines or f"[xagent]\n{entry} = {module}\n")
        importlib.invalidate_caches()

    def load(self, *disabled: str) -> Plugins:
        """Loads what is in this folder, and not what the tests run with."""
        path = sys.path[:]
        # The standard library and this project stay; site-packages, where plugins may be, does not.
        sys.path[:] = [str(self.folder), *(entry for entry in path if "site-packages" not in entry)]
        try:
            return load_plugins(disabled)
        finally:
            sys.path[:] = path


@pytest.fixture
def site(tmp_path) -> Site:
    return Site(tmp_path)


def names(plugins: Plugins) -> list[str]:
    return [language.name for language in plugins.languages]


def only_failure(plugins: Plugins) -> str:
    (failure,) = plugins.failures
    return str(failure)


def test_a_language_is_found_by_name_alias_and_extension(site):
    site.install("xagent-awk", language("awk", "gawk", "mawk"))
    plugins = site.load()
    assert names(plugins) == ["awk"]
    assert (
        plugins.languages["gawk"] is plugins.languages["awk"] is plugins.languages["AWK"] is plugins.languages["Mawk"]
    )
    assert plugins.languages.distribution("awk") == "xagent-awk"
    found = plugins.language_for_file("x.awk")
    assert found is not None
    assert found.name == "awk"
    assert plugins.language_for_file("x.unknown") is None
    assert plugins.loaded[0].provides == ("language awk",)


def test_the_longest_extension_wins():
    plugins = Plugins()
    for name, extension in (("ts", ".ts"), ("test", ".test.ts")):
        plugins.languages.add(Language(name=name, extensions=(extension,), executables=(), run=("x",)), "d")
    found = plugins.language_for_file("a.test.ts")
    assert found is not None
    assert found.name == "test"


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        ("import nowhere_to_be_found", "ModuleNotFoundError: No module named 'nowhere_to_be_found'"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("def (", "SyntaxError"),
        ("import sys; sys.exit('I quit')", "SystemExit: I quit"),
        ("raise SystemExit", "SystemExit"),
        (
            "from xagent_core import hookimpl\n@hookimpl\ndef xagent_register_langages(): return []",
            "xagent_register_langages does not exist. Did you mean xagent_register_languages?",
        ),
        ("def xagent_register_languages(): return []", "xagent_register_languages is not marked. Write @hookimpl"),
        (
            "from xagent_core import hookimpl\n@hookimpl\ndef xagent_register_languages(): pass",
            "xagent_register_languages: TypeError: it returned NoneType, and not a list",
        ),
        (
            "from xagent_core import hookimpl\n@hookimpl\nasync def xagent_before_execute(request): pass",
            "xagent_before_execute is a coroutine function",
        ),
        (
            "from xagent_core import hookimpl\n@hookimpl\ndef xagent_before_execute(wrong): pass",
            "PluginValidationError",
        ),
        (
            "from xagent_core import hookimpl\n@hookimpl\ndef xagent_register_languages(): return ['perl']",
            "'perl' is not a Language",
        ),
        (
            "from xagent_core import hookimpl\n@hookimpl\ndef xagent_register_tools(): 1 / 0",
            "xagent_register_tools: ZeroDivisionError",
        ),
        (
            "from xagent_core import hookimpl\n@hookimpl\ndef xagent_register_tools(): raise SystemExit(3)",
            "xagent_register_tools: SystemExit: 3",
        ),
        (
            "from xagent_core import hookimpl\n@hookimpl\ndef xagent_register_languages(): return None",
            "xagent_register_languages: TypeError",
        ),
        (language("two words"), "a name has no spaces"),
        (language("x").replace("run=", "api_version=99, run="), "was written for plugin interface 99, and this xagent"),
        (language("x").replace('extensions=(".x",)', "extensions='.x'"), "extensions must be a tuple, not a string"),
    ],
)
def test_a_broken_plugin_is_named_with_its_cause_and_breaks_nothing_else(site, code, cause):
    site.install("xagent-broken", code, version="2.5")
    site.install("xagent-good", language("good"))
    plugins = site.load()
    assert names(plugins) == ["good"]
    assert "xagent-broken 2.5 (entry point broken): " in only_failure(plugins)
    assert cause in only_failure(plugins)


def test_an_entry_point_that_names_nothing(site):
    site.install("xagent-broken", "", lines="[xagent]\nbroken = not_there.at:all\n")
    site.install("xagent-good", language("good"))
    plugins = site.load()
    assert "No module named 'not_there'" in only_failure(plugins)
    assert names(plugins) == ["good"]


@pytest.mark.parametrize("lines", ["[xagent]\nno equals sign\n", "[xagent]\nx = \n", "[xagent]\nx = !!\n"])
def test_damaged_metadata_breaks_nothing_else(site, lines):
    site.install("xagent-damaged", "", lines=lines)
    site.install("xagent-good", language("good"))
    plugins = site.load()
    assert "xagent-damaged 1.0" in only_failure(plugins)
    assert names(plugins) == ["good"]


def test_metadata_that_is_no_text_breaks_nothing_else(site):
    site.install("xagent-damaged", "")
    (site.folder / "xagent_damaged-1.0.dist-info" / "entry_points.txt").write_bytes(b"\xff\xfe[xagent]\n")
    site.install("xagent-good", language("good"))
    plugins = site.load()
    assert "metadata cannot be read: UnicodeDecodeError" in only_failure(plugins)
    assert names(plugins) == ["good"]


def test_what_a_broken_plugin_would_have_provided_is_an_error_that_names_it(site):
    site.install("xagent-broken", "import nowhere_to_be_found")
    site.install("xagent-good", language("python"))
    plugins = site.load()
    with pytest.raises(UnknownLanguageError) as caught:
        plugins.languages["pyton"]
    assert str(caught.value) == (
        "language pyton: no installed plugin provides it. Did you mean python? Installed: python. Broken plugins: "
        "xagent-broken 1.0 (entry point broken): ModuleNotFoundError: No module named 'nowhere_to_be_found'."
    )


def test_an_unknown_name_says_what_there_is():
    with pytest.raises(UnknownPluginError, match=r"tool fly: no installed plugin provides it\. Installed: none\."):
        Plugins().tools["fly"]


def test_two_distributions_with_one_name_are_both_named_and_neither_is_used(site):
    site.install("xagent-perl", language("perl"))
    site.install("other-perl", language("perl"))
    site.install("xagent-good", language("good"))
    plugins = site.load()
    assert names(plugins) == ["good"]
    assert "perl" in plugins.languages
    with pytest.raises(DuplicatePluginError) as caught:
        plugins.languages["perl"]
    assert "provided by other-perl and by xagent-perl" in str(caught.value)
    assert "XAGENT_DISABLED_PLUGINS" in str(caught.value)
    assert plugins.duplicates() == ["language perl is provided by other-perl and by xagent-perl"]
    assert site.load("other-perl").languages.distribution("perl") == "xagent-perl"


def test_two_languages_with_one_alias_keep_their_names(site):
    site.install("xagent-a", language("aaa", "short"))
    site.install("xagent-b", language("bbb", "short"))
    plugins = site.load()
    assert names(plugins) == ["aaa", "bbb"]
    with pytest.raises(DuplicatePluginError, match="provided by xagent-a and by xagent-b"):
        plugins.languages["short"]
    assert plugins.duplicates() == ["language short is provided by xagent-a and by xagent-b"]


def test_an_alias_takes_no_name_away_and_the_clash_is_told(site):
    site.install("xagent-js", language("javascript", "js"))
    site.install("xagent-own", language("js"))
    plugins = site.load()
    assert plugins.languages.distribution("js") == "xagent-own"
    assert plugins.duplicates() == ["language js is provided by xagent-js and by xagent-own"]


def test_a_languages_own_name_among_its_aliases_is_no_clash(site):
    site.install("xagent-a", language("aaa", "AAA", "a", "a"))
    plugins = site.load()
    assert plugins.languages["a"].name == plugins.languages["aaa"].name == "aaa"
    assert plugins.duplicates() == []


@pytest.mark.parametrize("switch", ["awk", "AWK", "xagent-awk", "xagent_awk", " Xagent.Awk "])
def test_a_plugin_is_switched_off_by_entry_point_or_distribution(site, switch):
    site.install("xagent-awk", "import nowhere_to_be_found")
    site.install("xagent-good", language("good"))
    plugins = site.load(switch)
    assert plugins.disabled == ["xagent-awk 1.0 (entry point awk)"]
    assert not plugins.failures
    assert names(plugins) == ["good"]


def test_the_first_of_two_installations_of_one_distribution_counts(site, tmp_path, monkeypatch):
    site.install("xagent-awk", language("awk"), version="2.0")
    later = tmp_path / "later"
    later.mkdir()
    Site(later).install("xagent.awk", language("awk"), version="1.0")
    monkeypatch.setattr(sys, "path", [*sys.path, str(later)])
    plugins = site.load()
    assert [plugin.version for plugin in plugins.loaded] == ["2.0"]
    assert not plugins.duplicates()


def test_one_distribution_may_have_several_plugins(site):
    site.install("xagent-both", language("aaa"))
    module = next(site.folder.glob("plugin_*.py")).stem
    (site.folder / "second.py").write_text(textwrap.dedent(language("bbb")))
    entry_points = site.folder / "xagent_both-1.0.dist-info" / "entry_points.txt"
    entry_points.write_text(f"[console_scripts]\nx = y:z\n[xagent]\na = {module}\nb = second\n")
    assert names(site.load()) == ["aaa", "bbb"]


def test_imports_and_helpers_that_begin_like_hooks_are_no_hooks(site):
    site.install(
        "xagent-good",
        "import xagent_core\nxagent_default = 1\ndef xagent_helper(): pass\n" + textwrap.dedent(language("good")),
    )
    plugins = site.load()
    assert not plugins.failures
    assert names(plugins) == ["good"]


def test_a_part_that_fails_leaves_the_plugins_other_parts(site):
    site.install(
        "xagent-half",
        textwrap.dedent(language("good")) + "@hookimpl\ndef xagent_register_tools(): return [1]\n",
    )
    plugins = site.load()
    assert names(plugins) == ["good"]
    assert "xagent_register_tools: PluginError: tool registration: 1 is not a ToolRegistration" in only_failure(plugins)
    assert plugins.loaded[0].provides == ("language good",)


OBSERVER = """
    from xagent_core import hookimpl
    seen = []

    @hookimpl
    def xagent_before_execute(request):
        seen.append(request)
        {then}
"""


def test_an_observer_that_fails_is_logged_and_the_others_are_called(site, caplog):
    site.install("xagent-failing", OBSERVER.format(then="1 / 0"))
    site.install("xagent-watching", OBSERVER.format(then="pass"))
    plugins = site.load()
    assert not plugins.failures
    assert {plugin.provides for plugin in plugins.loaded} == {("observer before_execute",)}
    request = ExecutionRequest(code="")
    with caplog.at_level(logging.ERROR):
        plugins.observe("xagent_before_execute", request=request, backend="fake")
    assert "observer xagent_before_execute of plugin xagent-failing:failing failed" in caplog.text
    seen = [
        module.seen for name, module in sys.modules.items() if name.startswith("plugin_") and hasattr(module, "seen")
    ]
    assert seen.count([request]) == 2


BACKEND = """
    from xagent_core import BackendRegistration, hookimpl

    def make(options):
        from xagent_core.testing.fakes import FakeBackend
        import {module}
        backend = FakeBackend(name="{name}")
        backend.options = dict(options)
        return backend

    @hookimpl
    def xagent_register_backends():
        return [BackendRegistration(name="{name}", summary="", factory=make)]
"""


def test_a_backend_is_made_by_name_with_the_configured_and_the_given_options(site):
    site.install("xagent-fake", BACKEND.format(name="fake", module="os"))
    settings = Settings(backends={"fake": {"a": 1, "b": 2}})
    backend = get_backend("FAKE", plugins=site.load(), settings=settings, b=3)
    assert backend.options == {"a": 1, "b": 3}  # type: ignore[attr-defined]


def test_a_backend_without_its_dependency_says_what_to_reinstall(site):
    site.install("xagent-fake", BACKEND.format(name="fake", module="not_installed"))
    with pytest.raises(BackendUnavailableError) as caught:
        get_backend("fake", plugins=site.load(), settings=Settings())
    assert str(caught.value) == (
        "fake: a dependency is missing: No module named 'not_installed'. "
        "Reinstall it: pip install --force-reinstall xagent-fake"
    )


async def test_no_backend_at_all_names_what_is_broken(site):
    site.install("xagent-broken", "import nowhere_to_be_found")
    site.install("xagent-one", BACKEND.format(name="twice", module="os"))
    site.install("xagent-two", BACKEND.format(name="twice", module="os"))
    with pytest.raises(BackendUnavailableError) as caught:
        async with Engine("auto", plugins=site.load(), settings=Settings()):
            pass
    assert "No module named 'nowhere_to_be_found'" in str(caught.value)
    assert "backend twice is provided by xagent-one and by xagent-two" in str(caught.value)
    assert "pip install xagent-bubblewrap" in str(caught.value)


def test_a_catalogue_can_be_filled_by_hand():
    plugins = Plugins()
    plugins.backends.add(BackendRegistration(name="x", summary="", factory=lambda _: FakeBackend()), "a test")
    assert isinstance(get_backend("x", plugins=plugins, settings=Settings()), FakeBackend)
