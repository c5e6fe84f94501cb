"""Renders a sandbox's policy as the Engine API's container configuration."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from xagent_core.abc.backend import SandboxSpec
from xagent_core.containers.render import (
    CPU_PERIOD,
    USER,
    cpu_quota,
    rlimits,
    scratch_options,
    seccomp_profile,
)
from xagent_core.types import NetworkPolicy

__all__ = ["container_config"]


def container_config(
    spec: SandboxSpec,
    *,
    image: str,
    volumes: Iterable[str],
    labels: Mapping[str, str],
    runtime: str | None,
    network: str,
) -> dict[str, Any]:
    """The body of the request that creates a container.

    Args:
        spec: The policy.
        image: The image.
        volumes: Paths that the image declares as volumes. Docker would make each a folder on the host's disk that
            can be written to without a limit; an empty read-only tmpfs takes its place.
        labels: Put on the container.
        runtime: The OCI runtime, else the daemon's default.
        network: The Docker network for programs that may reach the internet.

    Returns:
        What ContainerCreate of the Engine API, version 1.41 or newer, takes.
    """
    # The owner matters where the image has no /tmp: runc then gives the mount the mode 755 in spite of what it says.
    tmp = ",".join((*scratch_options(spec), f"uid={USER}", f"gid={USER}"))
    offline = spec.network is NetworkPolicy.NONE
    host: dict[str, Any] = {
        "AutoRemove": True,
        "ReadonlyRootfs": True,
        "Tmpfs": dict.fromkeys(volumes, "ro,nosuid,nodev,noexec,size=4k") | {"/tmp": tmp},  # noqa: S108
        "CapDrop": ["ALL"],
        "Privileged": False,
        "SecurityOpt": ["no-new-privileges", f"seccomp={json.dumps(seccomp_profile())}"],
        "Memory": spec.memory,
        "MemorySwap": spec.memory,
        "CpuPeriod": CPU_PERIOD,
        "CpuQuota": cpu_quota(spec),
        "PidsLimit": spec.processes,
        "Ulimits": [{"Name": name, "Soft": value, "Hard": value} for name, value in rlimits(spec).items()],
        "IpcMode": "private",
        "ShmSize": spec.scratch,
        "CgroupnsMode": "private",
        "LogConfig": {"Type": "none"},
        "Init": False,
    }
    if runtime:
        host["Runtime"] = runtime
    if not offline:
        host["NetworkMode"] = network
    return {
        "Image": image,
        "Entrypoint": list(spec.command),
        "Cmd": [],
        "Env": [f"{name}={value}" for name, value in spec.env],
        "User": f"{USER}:{USER}",
        "WorkingDir": "/",
        "Hostname": "sandbox",
        "Labels": dict(labels),
        # Faster than the network mode `none`, which makes the daemon start itself again as a hook.
        "NetworkDisabled": offline,
        "Healthcheck": {"Test": ["NONE"]},
        "Tty": False,
        "OpenStdin": True,
        "StdinOnce": True,
        "AttachStdin": True,
        "AttachStdout": True,
        "AttachStderr": True,
        "HostConfig": host,
    }
