"""The loop of a peer's process. It runs in the peer's environment, so it imports the standard library only."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

__all__ = ["Runner", "serve"]


class Runner(Protocol):
    """One way to use a peer."""

    def once(self) -> tuple[str, Callable[[], None] | None]:
        """Runs the program: what it printed, and what closes what was opened for it alone."""

    def close(self) -> None:
        """Closes what is reused."""


def serve(version: str, make: Callable[[dict[str, Any]], Runner]) -> None:
    """Answers each line of standard input with the seconds of one run, until its end; then tells those of closing."""
    # What the peer itself prints is no answer.
    with os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1) as answers:
        os.dup2(2, 1)

        def answer(**values: object) -> None:
            answers.write(json.dumps(values) + "\n")

        closing: list[float] = []
        closers: list[threading.Thread] = []

        def timed(close: Callable[[], None]) -> None:
            began = time.perf_counter()
            close()
            closing.append(time.perf_counter() - began)

        try:
            runner = make(json.loads(sys.argv[1]))
        except Exception as error:
            answer(error=f"{type(error).__name__}: {str(error)[:200]}")
            return
        answer(version=version)
        for _ in sys.stdin:
            try:
                began = time.perf_counter()
                output, close = runner.once()
                seconds = time.perf_counter() - began
                if close is not None:
                    # It may wait ten seconds for a container that ignores signals, and uses no CPU meanwhile.
                    closers.append(threading.Thread(target=timed, args=(close,)))
                    closers[-1].start()
                if output.strip() != "1":
                    raise RuntimeError(f"the program printed {output[:80]!r} instead of 1")  # noqa: TRY301, RUF100
            except Exception as error:
                answer(error=f"{type(error).__name__}: {str(error)[:200]}")
                continue
            answer(seconds=seconds)
        with contextlib.suppress(Exception):
            # What each run has opened was closed apart, and only that is told then.
            runner.close() if closers else timed(runner.close)
        for thread in closers:
            thread.join()
        answer(closing=closing)
