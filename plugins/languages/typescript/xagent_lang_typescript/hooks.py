"""Announces TypeScript."""

from __future__ import annotations

from xagent_core.abc.language import Language
from xagent_core.hookspecs import hookimpl
from xagent_lang_typescript.language import TYPESCRIPT


@hookimpl
def xagent_register_languages() -> list[Language]:
    """TypeScript by esbuild and Node.js, or by Node.js alone."""
    return [TYPESCRIPT]
