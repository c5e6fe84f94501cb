"""The image that peers are given: xagent's own for Python, in which `python3` has the names that they use."""

from __future__ import annotations

import contextlib
import io
import tarfile
from collections.abc import Iterator
from typing import Final

from docker.client import from_env

__all__ = ["peer_image"]

_TAG: Final = "xagent-bench-peers:latest"
# llm-sandbox's pool makes a virtual environment, and updates pip in it over the network: it finds the former made.
_NAMES: Final = ("usr/bin/python", "sandbox/.sandbox-venv/bin/python", "tmp/venv/bin/python")


@contextlib.contextmanager
def peer_image(image: str) -> Iterator[str]:
    """Builds it without running anything, and removes it at the end. It blocks.

    Args:
        image: The image that xagent uses.

    Yields:
        Its name.
    """
    links = io.BytesIO()
    with tarfile.open(fileobj=links, mode="w") as archive:
        for name in _NAMES:
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, "/usr/bin/python3"
            archive.addfile(link)
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as archive:
        dockerfile = f'FROM {image}\nADD links.tar /\nENTRYPOINT []\nCMD ["python3"]\nUSER root\n'.encode()
        for name, content in (("Dockerfile", dockerfile), ("links.tar", links.getvalue())):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    context.seek(0)
    with contextlib.closing(from_env()) as client:
        client.images.build(fileobj=context, custom_context=True, tag=_TAG, rm=True, forcerm=True)
        try:
            yield _TAG
        finally:
            client.images.remove(_TAG, force=True)
