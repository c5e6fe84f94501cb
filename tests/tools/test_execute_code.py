"""`execute_code` on real sandboxes, as an agent's author would use it."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import time

import pytest

from tests.tools.conftest import NAMES, named, until
from xagent_core import get_tools, open_tools

# Reads numbers.txt, writes sum.txt, prints what it has written.
SUMS = {
    "python": "s = sum(map(int, open('numbers.txt'))); open('sum.txt', 'w').write(str(s)); print(s)",
    "javascript": """
        const fs = require("fs");
        const sum = fs.readFileSync("numbers.txt", "utf8").trim().split("\\n").map(Number).reduce((a, b) => a + b);
        fs.writeFileSync("sum.txt", String(sum));
        console.log(sum);""",
    "typescript": """
        import * as fs from "fs";
        const lines: string[] = fs.readFileSync("numbers.txt", "utf8").trim().split("\\n");
        const sum: number = lines.map(Number).reduce((a: number, b: number) => a + b);
        fs.writeFileSync("sum.txt", String(sum));
        console.log(sum);""",
    "bash": "sum=0; while read -r n; do sum=$((sum + n)); done <numbers.txt; printf %s $sum >sum.txt; echo $sum",
    "go": """
        package main

        import (
            "fmt"
            "os"
            "strconv"
            "strings"
        )

        func main() {
            text, _ := os.ReadFile("numbers.txt")
            sum := 0
            for _, line := range strings.Fields(string(text)) {
                n, _ := strconv.Atoi(line)
                sum += n
            }
            os.WriteFile("sum.txt", []byte(strconv.Itoa(sum)), 0o644)
            fmt.Println(sum)
        }""",
}


@pytest.mark.timeout(900)  # the first program in Go may wait until its library is built
@pytest.mark.parametrize(
    "language", [pytest.param(name, marks=() if name == "python" else pytest.mark.slow) for name in SUMS]
)
async def test_write_a_file_run_code_on_it_and_read_what_it_wrote(any_engine, workspace, language):
    tools = named(get_tools(any_engine, workspace=workspace, names=NAMES))
    await tools.write_file.ainvoke({"path": "numbers.txt", "content": "1\n2\n39\n"})
    timeout = 600 if language == "go" else 60
    done = await tools.execute_code.ainvoke({"code": SUMS[language], "language": language, "timeout": timeout})
    assert (done["status"], done["output"], done["error"], done["exit_code"]) == ("success", "42\n", "", 0)
    assert done["files"] == [{"path": "sum.txt", "size": 2}]
    assert (await tools.read_file.ainvoke({"path": "sum.txt"}))["content"] == "42"


async def test_what_a_workspace_holds_lives_from_call_to_call_and_nothing_else_does(any_engine, workspace):
    (run,) = get_tools(any_engine, workspace=workspace, names=["execute_code"])
    first = "open('kept.txt', 'w').write('kept'); open('/tmp/lost.txt', 'w').write('lost'); x = 1"
    assert (await run.ainvoke(first))["status"] == "success"
    second = await run.ainvoke(
        "import os; print(open('kept.txt').read(), os.path.exists('/tmp/lost.txt'), 'x' in dir())"
    )
    assert second["output"] == "kept False False\n"
    third = await run.ainvoke({"code": "mkdir -p deep/er && mv kept.txt deep/er/", "language": "bash"})
    assert (third["files"], third["removed"]) == ([{"path": "deep/er/kept.txt", "size": 4}], ["kept.txt"])
    assert workspace.read("deep/er/kept.txt") == b"kept"


async def test_a_large_workspace_goes_in_and_comes_back(any_engine, workspace):
    workspace.write("large.bin", bytes(range(256)) * 4 * 9000)
    (run,) = get_tools(any_engine, workspace=workspace, names=["execute_code"])
    code = "data = open('large.bin', 'rb').read(); open('copy.bin', 'wb').write(data[::-1]); print(len(data))"
    done = await run.ainvoke({"code": code})
    assert (done["status"], done["output"]) == ("success", "9216000\n"), done
    assert workspace.read("copy.bin") == workspace.read("large.bin")[::-1]


@pytest.mark.engine("bubblewrap")
async def test_a_program_that_makes_links_and_pipes_leaves_only_files(tools, workspace):
    code = """
import os
os.symlink('/etc/passwd', 'passwd'); os.symlink('..', 'up'); os.mkfifo('pipe')
os.makedirs('sub'); os.symlink('/', 'sub/root'); open('sub/file', 'w').write('x'); os.link('sub/file', 'hard')
"""
    done = await tools.execute_code.ainvoke({"code": code})
    assert done["status"] == "success"
    listed = await tools.list_files.ainvoke({})
    assert listed["entries"] == [
        {"path": "hard", "type": "file", "size": 1},
        {"path": "sub", "type": "folder"},
        {"path": "sub/file", "type": "file", "size": 1},
    ]


@pytest.mark.engine("bubblewrap")
async def test_what_cannot_be_kept_is_said(tools, workspace):
    (workspace.path / os.fsdecode(b"old-\xff")).write_bytes(b"1")
    workspace.write("data/a.txt", b"1")
    code = r"""
import os, shutil
open('.env', 'w').close(); os.mkdir('node_modules'); open('node_modules/a', 'w').close()
open(b'\xff.txt', 'w').close(); open(b'\xfe.txt', 'w').close(); open(b'old-\xff', 'a').write('2')
shutil.rmtree('data'); open('data', 'w').write('now a file'); open('main.py', 'a').write('#')
"""
    done = await tools.execute_code.ainvoke({"code": code})
    assert [file["path"] for file in done["files"]] == [r"\xfe.txt", r"\xff.txt", "data", r"old-\xff"], done
    assert done["removed"] == ["data/a.txt"]
    for said in (".env, node_modules (", "main.py (it is the program itself)", r"another name: \xfe.txt, \xff.txt ("):
        assert said in done["notice"]
    assert (workspace.path / os.fsdecode(b"old-\xff")).read_bytes() == b"12"
    assert workspace.read("data") == b"now a file"
    late = "open('late.txt', 'w').write('x'); import time; time.sleep(60)"
    done = await tools.execute_code.ainvoke({"code": late, "timeout": 1})
    assert "The program was stopped: what it wrote" in done["notice"]


@pytest.mark.engine("bubblewrap")
@pytest.mark.parametrize(
    ("code", "seconds", "status", "exit_code"),
    [
        ("import sys; print('out'); sys.exit(3)", 60, "error", 3),
        ("print('out', flush=True); import time; time.sleep(600)", 6, "timeout", None),
        ("print('out', flush=True); import os; os.kill(os.getpid(), 9)", 60, "killed", 137),
        ("print('out'); raise ValueError('no')", 60, "error", 1),
        ("print('out'); syntax error", 60, "error", 1),
    ],
)
async def test_a_program_that_fails_is_an_answer_and_no_tool_error(tools, code, seconds, status, exit_code):
    call = {"code": code, "timeout": seconds}
    message = await tools.execute_code.ainvoke({"type": "tool_call", "id": "1", "name": "execute_code", "args": call})
    done = json.loads(message.content)
    assert message.status == "success"
    assert (done["status"], done["exit_code"]) == (status, exit_code)
    assert done["output"] == ("" if "syntax" in code else "out\n")


@pytest.mark.engine("bubblewrap")
async def test_a_sandbox_sees_nothing_of_the_workspaces_place_or_the_network(tools, workspace):
    code = f"""
import os, socket
print(os.path.exists({str(workspace.path)!r}), os.getcwd())
socket.gethostbyname("example.org")
"""
    done = await tools.execute_code.ainvoke({"code": code})
    assert done["output"] == "False /tmp/work\n"
    assert "gaierror" in done["error"]


@pytest.mark.engine("bubblewrap")
async def test_files_are_artifacts_without_a_workspace_too(engine):
    (run,) = get_tools(engine, names=["execute_code"])
    call = {"code": "open('plot.png', 'wb').write(bytes(range(256)))"}
    message = await run.ainvoke({"type": "tool_call", "id": "1", "name": "execute_code", "args": call})
    (file,) = message.artifact["files"]
    assert (file["path"], base64.urlsafe_b64decode(file["content"])) == ("plot.png", bytes(range(256)))


@pytest.mark.engine("bubblewrap")
async def test_output_streams_while_the_program_runs(tools):
    code = "import time; print('first', flush=True); time.sleep(1); print('last')"
    ahead = []
    while max(ahead, default=0) < 0.5 and len(ahead) < 5:  # who had to pause finds all of it at once
        seen = [
            (event["event"], event["data"].get("data") if event["name"] == "xagent_output" else None, time.monotonic())
            async for event in tools.execute_code.astream_events({"code": code}, version="v2")
        ]
        output = [(data, at) for _, data, at in seen if data is not None]
        assert "".join(data for data, _ in output) == "first\nlast\n"
        assert seen[-1][0] == "on_tool_end"
        ahead.append(seen[-1][2] - output[0][1])
    assert ahead[-1] > 0.5


@pytest.mark.engine("bubblewrap")
async def test_twenty_calls_at_once_share_a_workspace(tools, workspace):
    workspace.write("base.txt", b"100")
    code = """
import sys
n = int(sys.argv[1])
open(f"out/{n}.txt", "w").write(str(int(open("base.txt").read()) + n))
print(n)
"""
    workspace.write("out/keep.txt", b"")
    calls = [{"code": code, "arguments": [str(number)], "timeout": 60} for number in range(20)]
    done = await asyncio.gather(*(tools.execute_code.ainvoke(call) for call in calls))
    assert [answer["output"] for answer in done] == [f"{number}\n" for number in range(20)]
    assert {workspace.read(f"out/{number}.txt") for number in range(20)} == {b"%d" % (100 + n) for n in range(20)}


@pytest.mark.engine("bubblewrap")
async def test_twenty_blocking_calls_from_threads(tools):
    calls = [{"code": f"print({number})", "timeout": 60} for number in range(20)]
    done = await asyncio.gather(*(asyncio.to_thread(tools.execute_code.invoke, call) for call in calls))
    assert [answer["output"] for answer in done] == [f"{number}\n" for number in range(20)]
    batch = await tools.execute_code.abatch(calls[:5])
    assert [answer["output"] for answer in batch] == [f"{number}\n" for number in range(5)]


@pytest.mark.engine("bubblewrap")
async def test_a_call_that_is_cancelled_ends_its_program_and_changes_no_file(tools, engine, workspace):
    workspace.write("a.txt", b"before")
    begun = asyncio.Event()

    async def watch():
        code = "open('a.txt', 'w').write('after'); print('begun', flush=True); import time; time.sleep(600)"
        async for event in tools.execute_code.astream_events({"code": code, "timeout": 600}, version="v2"):
            if event["name"] == "xagent_output":
                begun.set()

    task = asyncio.create_task(watch())
    await asyncio.wait_for(begun.wait(), 60)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: not engine.pool.stats().running)
    assert workspace.read("a.txt") == b"before"
    assert (await tools.execute_code.ainvoke("print(open('a.txt').read())"))["output"] == "before\n"


@pytest.mark.engine("bubblewrap")
def test_a_program_without_an_event_loop(tmp_path):
    with open_tools("bubblewrap", workspace=tmp_path, names=["write_file", "execute_code"]) as (write, run):
        write.invoke({"path": "a.txt", "content": "from a file"})
        assert run.invoke({"code": "print(open('a.txt').read())"})["output"] == "from a file\n"
    message = run.invoke({"type": "tool_call", "id": "1", "name": "execute_code", "args": {"code": "print(1)"}})
    assert (message.status, "it is not open" in message.content) == ("error", True)
