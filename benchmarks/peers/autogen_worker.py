"""Uses AutoGen's Docker executor as its documentation shows: `DockerCommandLineCodeExecutor`. In its environment."""

from __future__ import annotations

import asyncio
import logging
import tempfile
import threading
from collections.abc import Callable, Coroutine
from importlib import metadata
from typing import Any

from autogen_core import CancellationToken
from autogen_core.code_executor import CodeBlock
from autogen_ext.code_executors.docker import DockerCommandLineCodeExecutor
from worker import serve


class _Executors:
    """Executors on Docker; their event loop runs in a thread.

    Args:
        options: The mode, the image and the program.
    """

    def __init__(self, options: dict[str, Any]) -> None:
        self._image, self._code = options["image"], options["code"]
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self._folder = tempfile.TemporaryDirectory(prefix="xagent-bench-")
        self._reused = self._opened() if options["mode"] == "session" else None

    def once(self) -> tuple[str, Callable[[], None] | None]:
        """Runs the program."""
        executor = self._reused or self._opened()
        blocks = [CodeBlock(code=self._code, language="python")]
        try:
            output = self._do(executor.execute_code_blocks(blocks, CancellationToken())).output
        except BaseException:
            self._do(executor.stop())
            raise
        return output, None if self._reused else lambda: self._do(executor.stop())

    def close(self) -> None:
        """Stops the executor that was reused."""
        if self._reused is not None:
            self._do(self._reused.stop())
        self._folder.cleanup()

    def _opened(self) -> Any:
        executor = DockerCommandLineCodeExecutor(image=self._image, work_dir=self._folder.name)
        self._do(executor.start())
        return executor

    def _do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    serve(metadata.version("autogen-ext"), _Executors)
