"""Shows on stderr what is going on, where somebody looks at it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

__all__ = ["PullBar", "Steps"]


class Steps:
    """A line for each step that is being done. Quiet where stderr is no terminal.

    It is a context manager.
    """

    def __init__(self) -> None:
        console = Console(stderr=True)
        columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
        self._progress = Progress(*columns, console=console, disable=not console.is_terminal, transient=True)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._progress.stop()

    @contextmanager
    def step(self, description: str) -> Iterator[None]:
        """Shows a step for as long as the block runs."""
        task = self._progress.add_task(description, total=None)
        try:
            yield
        finally:
            self._progress.remove_task(task)


class PullBar:
    """A bar for each image that is being pulled. Quiet where stderr is no terminal.

    It is a context manager.
    """

    def __init__(self) -> None:
        console = Console(stderr=True)
        columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TimeElapsedColumn())
        self._progress = Progress(*columns, console=console, disable=not console.is_terminal)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._progress.stop()

    def image(self, name: str) -> PullProgress:
        """Adds the bar of an image."""
        return PullProgress(self._progress, name)


class PullProgress:
    """Adds up the progress of an image's layers.

    Args:
        progress: Where the bar is.
        name: The image's name.
    """

    def __init__(self, progress: Progress, name: str) -> None:
        self._progress = progress
        self._task = progress.add_task(name, total=None)
        self._layers: dict[str, tuple[int, int]] = {}

    def line(self, message: Mapping[str, Any]) -> None:
        """Takes a line of the daemon's pull stream: `{"id": LAYER, "status": ..., "progressDetail": {...}}`."""
        detail = message.get("progressDetail") or {}
        layer, status = str(message.get("id", "")), message.get("status")
        if status == "Downloading" and "total" in detail:
            self._layers[layer] = (int(detail.get("current", 0)), int(detail["total"]))
        elif status in ("Download complete", "Pull complete") and layer in self._layers:
            total = self._layers[layer][1]
            self._layers[layer] = (total, total)
        done, total = (sum(column) for column in zip(*self._layers.values(), strict=True)) if self._layers else (0, 0)
        self._progress.update(self._task, completed=done, total=total or None)
