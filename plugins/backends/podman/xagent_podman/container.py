"""Renders a sandbox's policy as the container that Podman's own API creates."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from xagent_core.abc.backend import SandboxSpec
from xagent_core.containers.render import CPU_PERIOD, USER, cpu_quota, rlimits, scratch_options, seccomp_profile
from xagent_core.types import NetworkPolicy

__all__ = ["container_spec", "write_profile"]

# What Podman lowers its own limit to where the kernel has no more process ids.
_MOST_PROCESSES: Final = 1 << 15


def container_spec(
    spec: SandboxSpec,
    *,
    name: str,
    image: str,
    labels: Mapping[str, str],
    profile: Path,
    network: str,
) -> dict[str, Any]:
    """The body of the request that creates a container.

    Podman's Docker-compatible request would take most of what Docker's does, but drops the rest without a word
    (4.3: a private cgroup namespace, no network) and adds writable folders. This is its own one.

    Args:
        spec: The policy.
        name: The container's.
        image: The image.
        labels: Put on the container.
        profile: The file with the allowed system calls.
        network: The network for programs that may reach the internet, else the service's default.

    Returns:
        What ContainerCreateLibpod, version 4.0 or newer, takes.
    """
    limits = {
        "memory": {"memory": {"limit": spec.memory, "swap": spec.memory}},
        "cpus": {"cpu": {"period": CPU_PERIOD, "quota": cpu_quota(spec)}},
        "processes": {"pids": {"limit": spec.processes}},
    }
    held = {key: value for limit, part in limits.items() if limit not in spec.unenforced for key, value in part.items()}
    # Podman's own default for `nproc` is above the hard limit of a service without CAP_SYS_RESOURCE. It counts the
    # processes of all sandboxes together, so it is no limit of this one: `pids` is.
    hard = resource.getrlimit(resource.RLIMIT_NPROC)[1]
    most = _MOST_PROCESSES if hard == resource.RLIM_INFINITY else min(hard, _MOST_PROCESSES)
    document: dict[str, Any] = {
        "name": name,
        "image": image,
        "labels": dict(labels),
        "entrypoint": list(spec.command),
        "command": [],
        "env": dict(spec.env),
        "unsetenv": ["TERM", "container"],
        "httpproxy": False,
        "user": f"{USER}:{USER}",
        "work_dir": "/",
        "hostname": "sandbox",
        "terminal": False,
        "stdin": True,
        "remove": True,
        "systemd": "false",
        "sdnotifyMode": "ignore",
        "log_configuration": {"driver": "none"},
        "read_only_filesystem": True,
        "read_write_tmpfs": False,
        "image_volume_mode": "ignore",
        "mounts": [
            {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": scratch_options(spec)}  # noqa: S108
        ],
        "shm_size": spec.scratch,
        "cap_drop": ["all"],
        "no_new_privileges": True,
        "seccomp_profile_path": str(profile),
        **{kind: {"nsmode": "private"} for kind in ("pidns", "ipcns", "utsns", "cgroupns")},
        "resource_limits": held,
        "r_limits": [
            {"type": kind, "hard": value, "soft": value} for kind, value in {**rlimits(spec), "nproc": most}.items()
        ],
    }
    if spec.network is NetworkPolicy.NONE:
        document |= {"netns": {"nsmode": "none"}, "use_image_resolve_conf": True, "use_image_hosts": True}
    elif network:
        document |= {"netns": {"nsmode": "bridge"}, "Networks": {network: {}}}
    return document


def write_profile(folder: Path) -> Path:
    """Writes the allowed system calls to a file, since Podman takes them from nowhere else.

    The file's name tells its content, so all processes of a user share it, and it is not removed.

    Args:
        folder: Where to; it is made.

    Returns:
        The file.

    Raises:
        OSError: It cannot be written.
    """
    content = json.dumps(seccomp_profile()).encode()
    file = folder / f"seccomp-{hashlib.sha256(content).hexdigest()[:16]}.json"
    if file.is_file() and file.read_bytes() == content:
        return file
    folder.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=folder)
    with os.fdopen(descriptor, "wb") as target:
        target.write(content)
    Path(name).chmod(0o644)
    return Path(name).replace(file)
