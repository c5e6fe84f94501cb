"""Runs the cells of a session one after another in one namespace.

It runs inside the sandbox, alone: it imports nothing of ours, and the interpreter may be an old one.
"""

from __future__ import annotations
import __future__

import ast
import asyncio
import base64
import contextlib
import functools
import inspect
import json
import linecache
import operator
import os
import signal
import sys
import traceback
import types
from typing import Any

LONGEST_VALUE = 32 * 1024  # characters; the end mark, which holds it, may be 64 KiB
FUTURES = functools.reduce(
    operator.or_, (getattr(__future__, feature).compiler_flag for feature in __future__.all_feature_names)
)


class Kernel:
    """The state of a session.

    Args:
        pipe: Path of the named pipe that requests come through.
    """

    def __init__(self, pipe: str) -> None:
        self.pipe = pipe
        self.asked = os.path.join(os.path.dirname(pipe), "interrupt")  # names the cell that is to end
        # A cell may close or replace the streams; the marks must come all the same.
        self.marks = (os.dup(1), os.dup(2))
        self.process = os.getpid()
        self.flags = 0  # of the `from __future__` of all cells so far
        self.running = False
        self.loop: asyncio.AbstractEventLoop | None = None
        main = types.ModuleType("__main__")
        sys.modules["__main__"] = main
        self.names = main.__dict__
        sys.argv = [""]
        sys.path[0] = ""
        self.handler: Any = self.interrupted  # of SIGINT while a cell runs; a cell may set its own
        signal.signal(signal.SIGINT, self.interrupted)

    def interrupted(self, _signal: int, frame: types.FrameType | None) -> None:
        """Ends the cell that runs; between cells, and in what `run` itself does, there is nothing to end."""
        if self.running and not (frame and frame.f_code is Kernel.run.__code__):
            raise KeyboardInterrupt

    def serve(self) -> None:
        """Runs what comes through the pipe, for as long as the sandbox lives."""
        with open(os.path.join(os.path.dirname(self.pipe), "pid"), "w") as file:
            print(os.getpid(), file=file)
        while True:
            with open(self.pipe) as requests:
                boundary, number, path = requests.read().rstrip("\n").split(" ")
            with open(path, encoding="utf-8", errors="surrogateescape") as file:
                code, note = self.run(file.read(), int(number))
            encoded = base64.b64encode(json.dumps(note).encode()).decode()
            for descriptor in self.marks:
                os.write(descriptor, f"{boundary} run {code} - - - {encoded}\n".encode())

    def run(self, source: str, number: int) -> tuple[int, dict[str, object]]:
        """Runs one cell; gives its exit code and what there is to say of it."""
        name = f"<cell {number}>"
        linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
        note: dict[str, object] = {}
        try:
            code = self.cell(source, name, number, note)
            self.running = False
        except BaseException as error:  # An interrupt, or what not even a traceback could be printed of.
            self.running = False
            code = 130 if isinstance(error, KeyboardInterrupt) else 1
            with contextlib.suppress(BaseException):
                self.show(error, name)
        handler = signal.getsignal(signal.SIGINT)
        if handler is not None:  # one that Python can set again
            self.handler = handler
            signal.signal(signal.SIGINT, self.interrupted)
        for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
            with contextlib.suppress(Exception):
                stream.flush()  # type: ignore[union-attr]  # a stream that is None is one that cannot be flushed
        if os.getpid() != self.process:
            os._exit(code)  # A process that the cell has forked ends with the cell; requests are not for it.
        return code, note

    def cell(self, source: str, name: str, number: int, note: dict[str, object]) -> int:
        """All of a cell that SIGINT may end: its code, and what of it is called to tell how it went."""
        self.running = True
        if signal.getsignal(signal.SIGINT) is not None:
            signal.signal(signal.SIGINT, self.handler)
        if self.is_asked_to_end(number):
            raise KeyboardInterrupt
        try:
            value = self.evaluate(source, name)
            if value is not None:
                self.names["_"] = value
                note["value"] = repr(value)[:LONGEST_VALUE]
            note["figures"] = self.save_figures(number)
        except SystemExit as stop:
            return self.exit_code(stop)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            self.show(error, name)
            return 1
        return 0

    def is_asked_to_end(self, number: int) -> bool:
        """Whether a signal has come for a cell before it began."""
        try:
            with open(self.asked, "rb") as file:
                return file.read() == f"{number}\n".encode()
        except OSError:
            return False

    def evaluate(self, source: str, name: str) -> object:
        """Runs the statements, and gives the value of a last expression, as a notebook does."""
        tree = compile(source, name, "exec", ast.PyCF_ONLY_AST | self.flags, dont_inherit=True)
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        value = self.step(tree, name, "exec")
        return value if last is None else self.step(ast.Expression(last.value), name, "eval")

    def step(self, tree: ast.Module | ast.Expression, name: str, mode: str) -> object:
        """Runs one part, in an event loop of the session where it awaits something."""
        # Not with this file's own `from __future__`, which the builtin would add.
        code = compile(tree, name, mode, ast.PyCF_ALLOW_TOP_LEVEL_AWAIT | self.flags, dont_inherit=True)
        self.flags |= code.co_flags & FUTURES
        value: Any = eval(code, self.names)
        if not (code.co_flags & inspect.CO_COROUTINE):
            return value
        if self.loop is None:
            self.loop = asyncio.new_event_loop()
            asyncio.set_event_loop(self.loop)
        result: object = self.loop.run_until_complete(value)
        return result

    def save_figures(self, number: int) -> list[str]:
        """Saves and closes the figures that matplotlib has open; gives their paths."""
        if "matplotlib.pyplot" not in sys.modules:
            return []
        pyplot: Any = sys.modules["matplotlib.pyplot"]
        paths = []
        for index, figure in enumerate(pyplot.get_fignums(), 1):
            paths.append(f"figure-{number}-{index}.png")
            pyplot.figure(figure).savefig(paths[-1])
        pyplot.close("all")
        return paths

    def exit_code(self, stop: SystemExit) -> int:
        """What the interpreter would have exited with."""
        if stop.code is None or isinstance(stop.code, int):
            return (stop.code or 0) & 0xFF
        print(stop.code, file=sys.stderr)
        return 1

    def show(self, error: BaseException, name: str) -> None:
        """Prints a traceback that neither begins nor ends in here."""
        frames = error.__traceback__
        while frames is not None and frames.tb_frame.f_code.co_filename != name:
            frames = frames.tb_next
        last = frames
        while last is not None:
            if last.tb_next is not None and last.tb_next.tb_frame.f_code is Kernel.interrupted.__code__:
                last.tb_next = None
            last = last.tb_next
        traceback.print_exception(type(error), error, frames)


if __name__ == "__main__":
    Kernel(sys.argv[1]).serve()
