"""`import xagent_core` costs next to nothing, every public name is there, and imports point one way."""

from __future__ import annotations

import ast
import importlib
import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import xagent_core

ROOT = Path(__file__).parents[1]
CORE = Path(xagent_core.__file__).parent
HEAVY = ["docker", "langchain_core", "pydantic", "typer", "rich", "asyncio", "pluggy", "platformdirs"]
LAYERS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]["layers"]


def modules_after(statement: str) -> set[str]:
    """The names of the modules that a new interpreter has loaded after a statement."""
    code = f"{statement}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(ran.stdout))


def test_importing_it_loads_nothing_heavy_and_no_plugin():
    loaded = modules_after("import xagent_core")
    assert not loaded & set(HEAVY)
    assert {name for name in loaded if name.startswith("xagent")} == {"xagent_core"}


@pytest.mark.parametrize("name", ["Engine", "hookimpl", "Language", "get_tools", "load_plugins"])
def test_no_public_name_loads_an_engines_library(name):
    assert not modules_after(f"from xagent_core import {name}") & {
        "docker",
        "langchain_core",
        "typer",
        "rich",
        "pydantic",
    }


@pytest.mark.parametrize("name", xagent_core.__all__)
def test_every_public_name_is_there(name):
    home = importlib.import_module(f"xagent_core.{xagent_core._HOME_OF[name]}")
    assert name in home.__all__
    assert getattr(xagent_core, name) is getattr(home, name)
    assert name in dir(xagent_core)


def test_the_public_names_are_those_that_type_checkers_see():
    tree = ast.parse((CORE / "__init__.py").read_text())
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    typed = {
        alias.asname: node.module for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert set(typed) == set(xagent_core.__all__)
    for name, module in typed.items():
        assert getattr(importlib.import_module(str(module)), name) is getattr(xagent_core, name)


def test_every_error_and_every_contract_is_public():
    for module in ("errors", "abc.backend", "abc.language", "abc.tool", "abc.queue", "abc.command"):
        names = importlib.import_module(f"xagent_core.{module}").__all__
        assert set(names) - {"JobState", "encode_source"} <= set(xagent_core.__all__), module


def test_a_name_that_is_not_there():
    with pytest.raises(AttributeError, match="module 'xagent_core' has no attribute 'Enigne'"):
        xagent_core.Enigne  # noqa: B018


@pytest.mark.parametrize(
    "path",
    sorted(set(CORE.rglob("*.py")) - {CORE / "cli" / "__main__.py"}),
    ids=lambda path: str(path.relative_to(CORE)),
)
def test_a_module_says_what_it_offers_and_offers_it(path):
    name = ".".join(("xagent_core", *path.relative_to(CORE).with_suffix("").parts)).removesuffix(".__init__")
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree), "a module opens with one sentence on what it owns"
    module = importlib.import_module(name)
    for offered in getattr(module, "__all__", ()):
        assert hasattr(module, offered)


def layer(module: str) -> int:
    """The place of a module among the layers, which pyproject.toml lists from the top."""
    parts = module.split(".")
    for place, names in enumerate(LAYERS):
        for one in names.replace("(", "").replace(")", "").replace("|", ":").split(":"):
            if parts[1] == one.strip().rpartition(".")[2]:
                return place
    raise AssertionError(f"{module} is in no layer of [tool.importlinter]")


@pytest.mark.parametrize("path", sorted(CORE.rglob("*.py")), ids=lambda path: str(path.relative_to(CORE)))
def test_imports_point_one_way(path):
    """import-linter checks the same; this says it where the tests run, and that no module is forgotten."""
    relative = path.relative_to(CORE).with_suffix("").parts
    if relative == ("__init__",):
        return
    here = layer(".".join(("xagent_core", *relative)))
    tree = ast.parse(path.read_text())
    guarded = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in guarded:
            continue
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == "xagent_core":
            targets = [f"xagent_core.{alias.name}" for alias in node.names if (CORE / f"{alias.name}.py").exists()]
        elif isinstance(node, ast.ImportFrom):
            targets = [str(node.module)]
        else:
            continue
        for target in targets:
            top = target.partition(".")[0]
            assert top == "xagent_core" or not top.startswith("xagent_"), f"core imports the plugin {target}"
            if target.startswith("xagent_core.") and target.split(".")[1] != relative[0]:
                assert layer(target) >= here, f"{'.'.join(relative)} may not import {target}"
