"""Streams an image to an engine in the format of `docker save`, which every engine reads."""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from xagent_docker.images.debian import SANDBOX_ID
from xagent_docker.images.layers import EPOCH, Layer

__all__ = ["PATH", "image_config", "save_format"]

PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Where programs are looked for inside."""

_CHUNK: Final = 1 << 20


def image_config(*, architecture: str, created: str, labels: Mapping[str, str], layers: Sequence[Layer]) -> bytes:
    """An image's configuration: the JSON document whose SHA-256 is the image's id.

    Args:
        architecture: As engines call it: `amd64`, `arm64`.
        created: The time, RFC 3339.
        labels: The image's labels.
        layers: From the lowest up.
    """
    config: dict[str, Any] = {
        "architecture": architecture,
        "os": "linux",
        "created": created,
        "config": {
            "User": f"{SANDBOX_ID}:{SANDBOX_ID}",
            "Env": [f"PATH={PATH}"],
            "Cmd": ["sh"],
            "WorkingDir": "/",
            "Labels": dict(labels),
        },
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer.digest}" for layer in layers]},
        "history": [{"created": created, "created_by": f"xagent images build: {layer.origin}"} for layer in layers],
    }
    return json.dumps(config, sort_keys=True).encode()


def save_format(config: bytes, layers: Sequence[Layer], tags: Sequence[str]) -> Iterator[bytes]:
    """The archive, piece by piece: layers are not copied on the way.

    Args:
        config: What `image_config` made.
        layers: The same layers.
        tags: Names of the image; none leaves it to be called by its id.
    """
    config_name = f"{hashlib.sha256(config).hexdigest()}.json"
    manifest = [
        {
            "Config": config_name,
            "RepoTags": list(tags) or None,
            "Layers": [f"{layer.digest}/layer.tar" for layer in layers],
        }
    ]
    yield from _member(config_name, len(config), [config])
    for layer in {layer.digest: layer for layer in layers}.values():
        yield from _member(f"{layer.digest}/layer.tar", layer.size, _read(layer))
    document = json.dumps(manifest).encode()
    yield from _member("manifest.json", len(document), [document])
    yield bytes(2 * tarfile.BLOCKSIZE)


def _member(name: str, size: int, content: Iterable[bytes]) -> Iterator[bytes]:
    member = tarfile.TarInfo(name)
    member.size, member.mtime = size, EPOCH
    yield member.tobuf(tarfile.PAX_FORMAT)
    yield from content
    yield bytes(-size % tarfile.BLOCKSIZE)


def _read(layer: Layer) -> Iterator[bytes]:
    with layer.path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk
