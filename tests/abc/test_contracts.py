"""What the contracts themselves do: very little."""

from __future__ import annotations

import pytest

from xagent_core import (
    Backend,
    BackendPermissionError,
    BackendUnavailableError,
    ExecutionRequest,
    Language,
    PluginError,
    Probe,
    Sandbox,
)


def test_a_probes_error_says_whether_it_is_there_at_all():
    missing = Probe(available=False, detail="no daemon answers", fix="Start it.").error("docker")
    assert type(missing) is BackendUnavailableError
    assert str(missing) == "docker: no daemon answers. Start it."
    refused = Probe(available=False, detail="permission denied", refused=True).error("docker")
    assert type(refused) is BackendPermissionError


def test_a_backend_is_these_few_methods():
    assert Backend.__abstractmethods__ == {"probe", "capabilities", "start", "reap", "aclose"}
    assert Sandbox.__abstractmethods__ == {"send", "receive", "wait", "kill"}


@pytest.mark.parametrize("field", ["run", "executables", "extensions", "aliases", "build"])
def test_a_string_where_a_language_needs_a_tuple_says_what_to_write(field):
    good = {"name": "x", "run": ("x",), "executables": ("x",), "extensions": (".x",)}
    with pytest.raises(PluginError, match=rf"language x: {field} must be a tuple, not a string\. Write {field}="):
        Language(**{**good, field: "x"})  # type: ignore[arg-type]


@pytest.mark.parametrize("field", ["run", "extensions"])
def test_a_language_needs_a_program_and_an_extension(field):
    good = {"name": "x", "run": ("x",), "executables": ("x",), "extensions": (".x",)}
    with pytest.raises(PluginError, match="run and extensions must not be empty"):
        Language(**{**good, field: ()})  # type: ignore[arg-type]


def test_the_source_has_one_name_everywhere():
    language = Language(
        name="x",
        run=("run", "{source}", "--in={source}"),
        build=("build", "{source}"),
        executables=("run",),
        extensions=(".x", ".xx"),
        source_name="src/prog.x",
        env={"SOURCE": "{source}"},
    )
    program = language.prepare(ExecutionRequest(code="{source}", args=("{source}",)))
    assert program.source_name == "src/prog.x"
    assert program.build == ("build", "src/prog.x")
    # The caller's own text is left alone.
    assert program.run == ("run", "src/prog.x", "--in=src/prog.x", "{source}")
    assert program.env == {"SOURCE": "src/prog.x"}
    assert program.source == b"{source}"
