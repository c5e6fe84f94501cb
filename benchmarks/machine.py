"""What a reader must know of the machine to judge the figures."""

from __future__ import annotations

import os
import platform
import time
from importlib import metadata
from pathlib import Path

from benchmarks.bare import version_of

__all__ = ["load", "machine"]


def machine() -> dict[str, str]:
    """The processor, the kernel and the versions of all that takes part."""
    facts = {
        "date": time.strftime("%Y-%m-%d"),
        "processor": f"{_processor()}, {os.cpu_count()} cores",
        "kernel": f"{platform.system()} {platform.release()}",
        "xagent-core": metadata.version("xagent-core"),
        "benchmark's Python": platform.python_version(),
        "bare interpreters": ", ".join(
            found
            for command in (
                ("/usr/bin/python3", "--version"),
                ("node", "--version"),
                ("bash", "--version"),
                ("esbuild", "--version"),
                ("go", "version"),
            )
            if (found := _named(command))
        ),
        "Docker": version_of("docker", "version", "--format", "{{.Server.Version}}"),
        "bubblewrap": version_of("bwrap", "--version"),
    }
    return {name: value for name, value in facts.items() if value}


def load() -> str:
    """The load averages now."""
    return " ".join(f"{average:.1f}" for average in os.getloadavg())


def _named(command: tuple[str, ...]) -> str:
    said = version_of(*command)
    return f"{command[0]} {said}" if said[:1].isdigit() or said.startswith("v") else said


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
