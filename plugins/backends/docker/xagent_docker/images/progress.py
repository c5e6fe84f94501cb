"""Shows on stderr what is going on, where somebody looks at it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)

__all__ = ["PullBar", "Steps"]


class _Display:
    """Lines on stderr while the block runs. Quiet where stderr is no terminal."""

    def __init__(self, *columns: ProgressColumn, transient: bool = False) -> None:
        console = Console(stderr=True)
        self._shown = console.is_terminal
        self._progress = Progress(*columns, console=console, disable=not self._shown, transient=transient)

    def __enter__(self) -> Self:
        # Rich before 14 ends even a display that is disabled with an empty line.
        if self._shown:
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._shown:
            self._progress.stop()


class Steps(_Display):
    """A line for each step that is being done.

    It is a context manager.
    """

    def __init__(self) -> None:
        columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
        super().__init__(*columns, transient=True)

    @contextmanager
    def step(self, description: str) -> Iterator[None]:
        """Shows a step for as long as the block runs."""
        task = self._progress.add_task(description, total=None)
        try:
            yield
        finally:
            self._progress.remove_task(task)


class PullBar(_Display):
    """A bar for each image that is being pulled.

    It is a context manager.
    """

    def __init__(self) -> None:
        super().__init__(
            TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TimeElapsedColumn()
        )

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
