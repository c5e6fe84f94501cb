"""The programs that are measured, and what of xagent itself is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from xagent_core import Engine, ExecutionRequest
from xagent_core.abc.backend import SandboxSpec
from xagent_core.benchmark.engines import Pooled, Unpooled
from xagent_core.benchmark.subjects import Sample, Subject
from xagent_core.config import PoolConfig

__all__ = ["SAMPLES", "engine_subjects", "settings"]

SAMPLES: Final = {
    language: Sample(language, code, "1")
    for language, code in {
        "python": "print(1)\n",
        "javascript": "console.log(1)\n",
        "bash": "echo 1\n",
        "typescript": "const one: number = 1;\nconsole.log(one);\n",
        "go": 'package main\n\nimport "fmt"\n\nfunc main() { fmt.Println(1) }\n',
    }.items()
}
"""By language."""


def engine_subjects(backends: Sequence[str], languages: Sequence[str]) -> list[Subject]:
    """With sandboxes that stand by and with none, for each backend and language."""
    subjects: list[Subject] = []
    for backend in backends:
        for language in languages:
            slow = {"go": 3, "typescript": 2}.get(language, 1)
            subjects.append(Pooled(backend, SAMPLES[language], every=slow))
            subjects.append(Unpooled(backend, SAMPLES[language], every=slow if language == "python" else 3))
    return subjects


async def settings(backend: str) -> SandboxSpec:
    """What a sandbox of Python has on a backend, with the default limits."""
    async with Engine(backend, pool=PoolConfig(ready=0)) as engine:
        return engine.plan(ExecutionRequest(code=SAMPLES["python"].code, language="python")).spec
