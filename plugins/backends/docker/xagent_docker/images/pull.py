"""Pulls the default images of languages from their registry."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

from docker.api import APIClient
from docker.errors import APIError
from docker.utils import parse_repository_tag

from xagent_docker.daemon import Daemon

__all__ = ["pull_image"]


async def pull_image(daemon: Daemon, name: str, fix: str, progress: Callable[[Mapping[str, Any]], None]) -> None:
    """Pulls an image; one that is there is brought up to date.

    Args:
        daemon: Pulls it.
        name: The image's name.
        fix: What the error advises.
        progress: Gets the lines of the daemon's pull stream, in another thread.

    Raises:
        ImageNotFoundError: The registry cannot be reached, or does not have the image.
        BackendUnavailableError: The daemon does not answer.
    """
    given_up = threading.Event()
    try:
        with daemon.pulling(name, fix):
            await daemon.call(f"pull {name}", _pull, daemon.client, name, progress, given_up)
    finally:
        given_up.set()


def _pull(
    client: APIClient, name: str, progress: Callable[[Mapping[str, Any]], None], given_up: threading.Event
) -> None:
    repository, tag = parse_repository_tag(name)
    for line in client.pull(repository, tag=tag or "latest", stream=True, decode=True):
        if "error" in line:
            raise APIError(line["error"], explanation=line["error"])
        if given_up.is_set():
            return
        progress(line)
