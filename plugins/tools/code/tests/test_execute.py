"""What `execute_code` tells a model, where no sandbox is needed to know it."""

from __future__ import annotations

import base64
import contextlib
import json
import os

import pytest
from pydantic import TypeAdapter
from xagent_tools_code.execute import execute_code_input

from xagent_core import (
    Engine,
    ExecutionResult,
    Language,
    SandboxStartError,
    Settings,
    UnknownLanguageError,
    Workspace,
    get_tools,
    load_plugins,
)
from xagent_core.plugins import Plugins
from xagent_core.testing.fakes import FakeBackend, FakeRun
from xagent_core.types import MIB


@contextlib.asynccontextmanager
async def execute_code(script=None, *, workspace=None, **options):
    """The tool over a backend that does as it is told."""
    backend = FakeBackend(script, **options)
    async with Engine(backend, settings=Settings()) as engine:
        (tool,) = get_tools(engine, workspace=workspace, names=["execute_code"])
        yield tool, backend


def call(**arguments):
    return {"type": "tool_call", "id": "call-1", "name": "execute_code", "args": arguments}


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path / "work")


async def test_a_result_is_what_a_model_needs_to_know():
    async with execute_code(FakeRun(stdout=b"out", stderr=b"err", exit_code=3)) as (tool, backend):
        answer = await tool.ainvoke({"code": "print(1)", "stdin": "in", "arguments": ["-v"]})
    assert 0 <= answer.pop("execution_time") < 60
    assert answer == {"status": "error", "output": "out", "error": "err", "exit_code": 3, "language": "python"}
    assert (backend.jobs[0].source, backend.jobs[0].stdin) == (b"print(1)", b"in")
    assert backend.jobs[0].argv == ("python3", "main.py", "-v")


async def test_the_artifact_is_the_whole_result_with_the_files():
    made = {"main.py": b"", "out/plot.png": b"\x89PNG\xff", ".cache/x": b"", "__pycache__/a.pyc": b""}
    async with execute_code(FakeRun(stdout=b"out", files=made)) as (tool, _):
        message = await tool.ainvoke(call(code="plot()"))
    assert json.loads(message.content)["files"] == [{"path": "out/plot.png", "size": 5}]
    assert json.loads(json.dumps(message.artifact)) == message.artifact
    result = TypeAdapter(ExecutionResult).validate_python(message.artifact)
    assert [(file.path, file.content) for file in result.files] == [("out/plot.png", b"\x89PNG\xff")]
    assert message.artifact["files"][0]["content"] == base64.urlsafe_b64encode(b"\x89PNG\xff").decode()
    assert (message.status, result.backend, result.output) == ("success", "fake", "out")


async def test_a_compilers_error_is_told_from_the_programs(workspace):
    workspace.write("a.txt", b"")
    async with execute_code(FakeRun(stderr=b"syntax", build_exit_code=2), workspace=workspace) as (tool, _):
        answer = await tool.ainvoke({"code": "func", "language": "go"})
    assert (answer["status"], answer["phase"], answer["error"]) == ("error", "build", "syntax")
    assert answer.keys().isdisjoint({"files", "removed", "notice"})
    assert workspace.read("a.txt") == b""


async def test_files_that_are_too_large_together_are_not_all_kept():
    async with execute_code(FakeRun(files={"a": bytes(6 * MIB), "b": bytes(6 * MIB)})) as (tool, _):
        answer = await tool.ainvoke({"code": "x"})
    assert answer["files"] == [{"path": "a", "size": 6 * MIB}]
    assert answer["notice"].startswith("Not all files could be kept: they are too large together")


async def test_a_long_output_loses_its_middle_and_the_artifact_has_it_all():
    text = "".join(f"{number}\n" for number in range(20_000))
    async with execute_code(FakeRun(stdout=text.encode())) as (tool, _):
        message = await tool.ainvoke(call(code="count()"))
    shown = json.loads(message.content)["output"]
    assert shown.startswith("0\n1\n")
    assert shown.endswith("19998\n19999\n")
    assert "characters left out" in shown
    assert len(shown) < 31_000
    assert message.artifact["output"] == text


async def test_a_provider_that_fails_is_an_error_that_a_model_can_read():
    error = SandboxStartError("fake", "no space is left", "Free some.")
    async with execute_code(start_error=error) as (tool, _):
        message = await tool.ainvoke(call(code="print(1)"))
    assert (message.status, message.content) == ("error", "fake: no space is left. Free some.")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({}, "code: Field required"),
        ({"code": ""}, "code: String should have at least 1 character"),
        ({"code": "x", "timeout": 0}, "timeout: Input should be greater than or equal to 0.1"),
        ({"code": "x", "timeout": 10_000}, "timeout: Input should be less than or equal to 600"),
        ({"code": "x", "timeout": "nan"}, "timeout: Input should be"),
        ({"code": "x", "language": "cobol"}, "language: Input should be 'bash', 'go', 'javascript', 'python' or"),
        ({"code": "x", "language": None}, "language: Input should be"),
        ({"code": "x", "arguments": ["a"] * 101}, "arguments: List should have at most 100 items"),
        ({"code": "x", "arguments": ["a\0b"]}, "an argument contains a NUL byte"),
    ],
)
async def test_wrong_arguments_are_named(arguments, error):
    async with execute_code() as (tool, backend):
        message = await tool.ainvoke(call(**arguments))
    assert message.status == "error"
    assert error in message.content
    assert backend.jobs == []


@pytest.mark.parametrize("name", ["js", "JavaScript", "node"])
async def test_an_alias_will_do(name):
    async with execute_code() as (tool, backend):
        assert (await tool.ainvoke({"code": "1", "language": name}))["language"] == "javascript"
    assert backend.jobs[0].spec.language == "javascript"


def test_the_languages_that_are_installed_are_the_choices_a_third_partys_included():
    plugins = load_plugins()
    plugins.languages.add(Language(name="awk", extensions=(".awk",), executables=("awk",), run=("awk",)), "somebody")
    names = execute_code_input(plugins).model_json_schema()["properties"]["language"]["enum"]
    assert names == sorted({"awk", "bash", "go", "javascript", "python", "typescript"})


def test_without_python_another_language_is_the_default_and_without_any_there_is_no_tool():
    plugins = Plugins()
    with pytest.raises(UnknownLanguageError, match="no language is installed"):
        execute_code_input(plugins)
    plugins.languages.add(Language(name="awk", extensions=(".awk",), executables=("awk",), run=("awk",)), "somebody")
    assert execute_code_input(plugins)(code="1").language == "awk"


async def test_output_is_passed_on_as_it_comes():
    pieces = [("stdout", b"one\n"), ("stderr", b"two\n"), ("stdout", "dr\u00e9i".encode()[:3]), ("stdout", b"\xa9i")]
    async with execute_code(FakeRun(pieces=pieces)) as (tool, _):
        events = [event async for event in tool.astream_events({"code": "x"}, version="v2")]
    assert [event["event"] for event in events[:1] + events[-1:]] == ["on_tool_start", "on_tool_end"]
    data = [event["data"] for event in events if event["name"] == "xagent_output"]
    assert {"stream": "stderr", "data": "two\n", "phase": "run"} in data
    assert "".join(item["data"] for item in data if item["stream"] == "stdout") == "one\ndr\u00e9i"


async def test_the_files_of_the_workspace_go_in_and_come_back(workspace):
    for path in ("a.txt", "src/b.txt", "gone.txt", ".env", ".git/config", "node_modules/x.js"):
        workspace.write(path, path.encode())
    after = {"a.txt": b"a.txt", "src/b.txt": b"changed", "new/c.txt": b"new", "main.py": b"x", ".bashrc": b"bad"}
    async with execute_code(FakeRun(files=after), workspace=workspace) as (tool, backend):
        message = await tool.ainvoke(call(code="x"))
    assert backend.jobs[0].files == {path: path.encode() for path in ("a.txt", "gone.txt", "src/b.txt")}
    answer = json.loads(message.content)
    assert answer["files"] == [{"path": "new/c.txt", "size": 3}, {"path": "src/b.txt", "size": 7}]
    assert answer["removed"] == ["gone.txt"]
    assert answer["notice"] == "Not kept: .bashrc (nothing is that begins with a dot, nor node_modules)."
    assert [file["path"] for file in message.artifact["files"]] == ["new/c.txt", "src/b.txt"]
    assert workspace.read("src/b.txt") == b"changed"
    assert workspace.read("new/c.txt") == b"new"
    assert {path.name for path in workspace.path.glob(".*")} == {".env", ".git"}
    assert not (workspace.path / "gone.txt").exists()


async def test_files_that_a_program_makes_up_lead_nowhere(workspace, tmp_path):
    """The archive that comes out of a sandbox may hold any name."""
    (tmp_path / "secret").write_bytes(b"outside")
    workspace.write("folder/file", b"")
    (workspace.path / "link").symlink_to(tmp_path)
    made = {
        "../secret": b"x",
        "/etc/xagent": b"x",
        "a/../../secret": b"x",
        "link/secret": b"x",
        "two\nlines": b"x",
        "folder": b"x",
        "folder/file/inner": b"x",
        "good": b"x",
    }
    async with execute_code(FakeRun(files=made), workspace=workspace) as (tool, _):
        answer = await tool.ainvoke({"code": "x"})
    assert answer["files"] == [{"path": "folder", "size": 1}, {"path": "good", "size": 1}]
    assert "Not in the sandbox: link (a link, which is not followed)." in answer["notice"]
    assert "Not kept: " in answer["notice"]
    assert (tmp_path / "secret").read_bytes() == b"outside"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["secret", "work"]


async def test_what_a_program_made_and_is_not_kept_is_named(workspace):
    made = dict.fromkeys((".git/a", ".git/b", "node_modules/c", "src/.env"), b"x")
    async with execute_code(FakeRun(files=made | {"main.py": b"changed"}), workspace=workspace) as (tool, _):
        answer = await tool.ainvoke({"code": "x"})
    assert answer["notice"] == (
        "Not kept: .git, node_modules, src/.env (nothing is that begins with a dot, nor node_modules). "
        "Not kept: main.py (it is the program itself)."
    )
    assert [*workspace.path.iterdir()] == []


@pytest.mark.parametrize(
    ("language", "made"),
    [
        ("python", ["__pycache__/a.pyc", "src/__pycache__/b.pyc"]),
        ("go", [".config/go/telemetry/local/weekends", ".cache/go-build/README"]),
        ("typescript", [".main.cjs"]),
    ],
)
async def test_what_a_languages_own_tools_leave_is_not_worth_a_word(workspace, language, made):
    async with execute_code(FakeRun(files=dict.fromkeys(made, b"x")), workspace=workspace) as (tool, _):
        assert "notice" not in await tool.ainvoke({"code": "x", "language": language})


async def test_a_folder_may_become_a_file_and_a_file_a_folder(workspace):
    for path in ("folder/a", "folder/deep/b", "file"):
        workspace.write(path, path.encode())
    async with execute_code(FakeRun(files={"folder": b"1", "file/c": b"2"}), workspace=workspace) as (tool, _):
        answer = await tool.ainvoke({"code": "x"})
    assert answer["removed"] == ["file", "folder/a", "folder/deep/b"]
    assert "notice" not in answer
    assert (workspace.read("folder"), workspace.read("file/c")) == (b"1", b"2")


async def test_nothing_is_lost_that_was_moved_to_where_it_cannot_be_written(workspace):
    with (workspace.path / "large").open("wb") as file:
        file.truncate(11 * MIB)
    async with execute_code(FakeRun(files={"moved": bytes(11 * MIB)}), workspace=workspace) as (tool, _):
        answer = await tool.ainvoke({"code": "x"})
    assert "Not kept: moved (it would have 11534336 bytes" in answer["notice"]
    assert "Not removed: large (not everything could be kept)." in answer["notice"]
    assert [path.name for path in workspace.path.iterdir()] == ["large"]


async def test_a_large_file_is_removed_as_others_are(workspace):
    with (workspace.path / "large").open("wb") as file:
        file.truncate(11 * MIB)
    async with execute_code(FakeRun(), workspace=workspace) as (tool, _):
        assert (await tool.ainvoke({"code": "x"}))["removed"] == ["large"]


async def test_names_that_are_not_utf_8_stay_apart(workspace):
    for name in (b"old\xff", b"gone\xff"):
        (workspace.path / os.fsdecode(name)).write_bytes(b"old")
    made = {os.fsdecode(name): b"new" for name in (b"old\xff", b"\xff.txt", b"\xfe.txt")}
    async with execute_code(FakeRun(files=made), workspace=workspace) as (tool, _):
        message = await tool.ainvoke(call(code="x"))
    answer = json.loads(message.content)
    assert [file["path"] for file in answer["files"]] == [r"\xfe.txt", r"\xff.txt", r"old\xff"]
    assert answer["removed"] == [r"gone\xff"]
    assert r"Kept under another name: \xfe.txt, \xff.txt (bytes that are not UTF-8" in answer["notice"]
    assert sorted(os.fsencode(path.name) for path in workspace.path.iterdir()) == [
        rb"\xfe.txt",
        rb"\xff.txt",
        b"old\xff",
    ]
    assert (workspace.path / os.fsdecode(b"old\xff")).read_bytes() == b"new"


async def test_what_another_has_changed_meanwhile_is_not_removed(workspace):
    workspace.write("a.txt", b"old")

    def script(job):
        workspace.write("a.txt", b"changed by another")
        return FakeRun(files={"b.txt": b""})

    async with execute_code(script, workspace=workspace) as (tool, _):
        answer = await tool.ainvoke({"code": "x"})
    assert "removed" not in answer
    assert workspace.read("a.txt") == b"changed by another"


async def test_a_program_that_is_stopped_removes_nothing(workspace):
    workspace.write("a.txt", b"old")
    async with execute_code(FakeRun(exit_code=None), workspace=workspace) as (tool, _):
        answer = await tool.ainvoke({"code": "x", "timeout": 0.2})
    assert answer["status"] == "timeout"
    assert answer["notice"] == "The program was stopped: what it wrote, changed or removed was not kept."
    assert workspace.read("a.txt") == b"old"


async def test_what_does_not_go_in_is_named(workspace, tmp_path):
    workspace.write("main.py", b"print()")
    (tmp_path / "other").write_bytes(b"")
    os.link(tmp_path / "other", workspace.path / "hard")
    os.mkfifo(workspace.path / "pipe")
    with (workspace.path / "huge").open("wb") as file:
        file.truncate(40 * MIB)
    async with execute_code(workspace=workspace) as (tool, backend):
        answer = await tool.ainvoke({"code": "x"})
    assert backend.jobs[0].files == {}
    for reason in (
        "hard (it has further names (hard links), which may lie outside)",
        "huge (at most 33554432 bytes fit)",
        "main.py (the program itself is main.py there: rename it to use it)",
        "pipe (no regular file)",
    ):
        assert reason in answer["notice"]


async def test_too_many_files_are_too_many(workspace):
    for number in range(510):
        workspace.write(f"{number:03}", b"")
    made = {f"new-{number:03}": b"" for number in range(510)}
    async with execute_code(FakeRun(files=made), workspace=workspace) as (tool, backend):
        answer = await tool.ainvoke({"code": "x"})
    assert len(backend.jobs[0].files) == len(answer["files"]) == 500
    assert "Not in the sandbox: 500, 501, 502, 503, 504 and 5 more (at most 500 files fit)." in answer["notice"]
    assert "Not kept: new-500, new-501, new-502, new-503, new-504 and 5 more" in answer["notice"]


async def test_a_large_workspace_gets_a_larger_sandbox(workspace):
    async with execute_code(workspace=workspace) as (tool, backend):
        await tool.ainvoke({"code": "x"})
        workspace.write("large", bytes(3 * MIB))
        await tool.ainvoke({"code": "x"})
    small, large = (job.spec for job in backend.jobs)
    assert (large.scratch - small.scratch, large.memory - small.memory) == (4 * MIB, 4 * MIB)
