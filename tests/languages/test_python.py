"""A Python program runs as `python3 main.py` runs it, whether the interpreter stood by or was started for it."""

from __future__ import annotations

import textwrap

import pytest

from xagent_core import InputFile
from xagent_core.types import Limits

pytestmark = pytest.mark.asyncio(loop_scope="session")

# Program, what it prints; where the second is None only the equality of the two ways counts.
PROGRAMS = {
    "name and file": (
        "import sys, os\nprint(__name__, __file__, sys.argv, sys.path[0], os.getcwd())",
        "__main__ /tmp/work/main.py ['main.py'] /tmp/work /tmp/work\n",
    ),
    "its own source": (
        "import inspect\ndef f():\n    return 1\nprint(open(__file__).read()[:6], inspect.getsource(f), end='')",
        "import def f():\n    return 1\n",
    ),
    "exit with text": ("import sys\nsys.exit('bye')", ""),
    "exit code above 255": ("raise SystemExit(258)", ""),
    "hard exit": ("import os\nos._exit(9)", ""),
    "at exit": ("import atexit\natexit.register(print, 'last')\nprint('first')", "first\nlast\n"),
    "error with a cause": ("try:\n    1 / 0\nexcept Exception as e:\n    raise KeyError('k') from e", ""),
    "error in a thread": ("import threading\nt = threading.Thread(target=lambda: 1 / 0)\nt.start()\nt.join()", None),
    "threads": (
        """
        import threading

        threads = [threading.Thread(target=lambda: print("t\\n", end="")) for _ in range(8)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        """,
        "t\n" * 8,
    ),
    "processes": (
        """
        import multiprocessing

        def square(x):
            return x * x

        if __name__ == "__main__":
            for method in ("fork", "spawn", "forkserver"):
                with multiprocessing.get_context(method).Pool(2) as pool:
                    print(method, pool.map(square, range(5)))
        """,
        "fork [0, 1, 4, 9, 16]\nspawn [0, 1, 4, 9, 16]\nforkserver [0, 1, 4, 9, 16]\n",
    ),
    "process pool executor": (
        """
        from concurrent.futures import ProcessPoolExecutor

        if __name__ == "__main__":
            with ProcessPoolExecutor(2) as pool:
                print(sum(pool.map(abs, [-1, 2])))
        """,
        "3\n",
    ),
    "asyncio": ("import asyncio\nasync def main():\n    print(1)\nasyncio.run(main())", "1\n"),
    "pickled classes": ("import pickle\nclass C: pass\nprint(pickle.loads(pickle.dumps(C)).__module__)", "__main__\n"),
    "subprocess": ("import subprocess, sys\nsubprocess.run([sys.executable, '-c', 'print(5)'])", "5\n"),
    "empty input": ("try:\n    input()\nexcept EOFError as e:\n    print(e)", "EOF when reading a line\n"),
    "signal": ("import os, signal\nos.kill(os.getpid(), signal.SIGTERM)", ""),
    "killed child": ("import os, signal\nif os.fork() == 0: os.kill(os.getpid(), 9)\nprint(os.wait()[1])", "9\n"),
    "syntax error": ("print(1)\nx = (2,\n", ""),
    "wrong indentation": ("if 1:\nprint(1)", ""),
    "a warning while parsing": ("print('\\d')\n" + "x = 1\n" * 20_000 + "print('end')", None),
    "nul byte": ("print(1)\n\0\nprint(2)", None),
    "form feed": ("\x0cprint(1)", "1\n"),
    "not utf-8": ("print('\udcff')", ""),
    "utf-8 cookie": ("# -*- coding: utf-8 -*-\nprint('é')", "é\n"),
    "latin-1 cookie": ("# -*- coding: latin-1 -*-\nprint('\udce9')", "é\n"),
    "cookie in the second line": ("#!/usr/bin/python3\n# vim: set fileencoding=cp1252 :\nprint('\udc80')", "€\n"),
    "unknown cookie": ("# coding: nonsense\nprint(1)", ""),
    "shebang": ("#!/usr/bin/env python2\nprint(1)", "1\n"),
    "unbuffered": ("import os\nprint('a', end='')\nos.write(1, b'b')\nprint('c')", "abc\n"),
    "deep recursion": ("def f(): f()\nf()", ""),
    "doctest of itself": ("'''\n>>> 1 + 1\n2\n'''\nimport doctest\nprint(doctest.testmod())", None),
}  # fmt: skip


@pytest.mark.parametrize("name", PROGRAMS)
async def test_a_program_runs_as_a_file_does(engine, name):
    program, expected = PROGRAMS[name]
    program = textwrap.dedent(program)

    standing_by = await engine.execute(program, language="python")
    # A request with an environment of its own cannot be served by an interpreter that runs already.
    as_a_file = await engine.execute(program, language="python", env={"OWN": "1"})

    assert expected is None or standing_by.output == expected
    for part in ("status", "exit_code", "output", "error", "phase"):
        assert getattr(standing_by, part) == getattr(as_a_file, part)


async def test_output_is_not_lost_when_the_program_is_killed_for_memory(engine):
    result = await engine.execute(
        "print('before', end='')\nx = bytearray(10**9)\nfor i in range(0, 10**9, 4096): x[i] = 1"
    )

    assert result.output == "before"
    assert result.status in ("out_of_memory", "error")


async def test_modules_of_packages_are_imported_and_leave_no_bytecode(engine):
    files = [InputFile("pkg/__init__.py", b"from .part import value"), InputFile("pkg/part.py", b"value = 6")]

    result = await engine.execute("import pkg\nprint(pkg.value)", files=files, collect=["**/*"])

    assert (result.output, result.error) == ("6\n", "")
    assert sorted(file.path for file in result.files) == ["main.py", "pkg/__init__.py", "pkg/part.py"]


async def test_many_threads_fit_the_process_limit(engine):
    program = (
        "import threading\nstop = threading.Event()\n"
        "ts = [threading.Thread(target=stop.wait) for _ in range(40)]\n"
        "[t.start() for t in ts]\nprint(threading.active_count())\nstop.set()"
    )

    result = await engine.execute(program, limits=Limits(processes=64))

    assert result.output == "41\n"
