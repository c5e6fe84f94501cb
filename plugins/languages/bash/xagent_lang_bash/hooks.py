"""Announces Bash."""

from __future__ import annotations

from xagent_core.abc.language import Kernel, Language, Packages
from xagent_core.hookspecs import hookimpl


@hookimpl
def xagent_register_languages() -> list[Language]:
    """Bash with the GNU tools. It starts in 2 ms, so that none needs to stand by."""
    return [
        Language(
            name="bash",
            summary="Bash scripts, with the GNU tools",
            aliases=("sh", "shell"),
            extensions=(".sh", ".bash"),
            image="debian:13-slim",
            executables=("bash",),
            run=("bash", "{source}"),
            hello="echo hello",
            samples="xagent_lang_bash:samples.toml",
            session=Kernel(run=("bash", "-c", "{script}"), script="xagent_lang_bash:kernel.sh"),
            packages=Packages(apt=("bash",)),
        )
    ]
