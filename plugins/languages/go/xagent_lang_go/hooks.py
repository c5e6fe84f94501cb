"""Announces Go."""

from __future__ import annotations

from xagent_core.abc.language import Language
from xagent_core.hookspecs import hookimpl
from xagent_lang_go.language import GO


@hookimpl
def xagent_register_languages() -> list[Language]:
    """Go, compiled in the sandbox."""
    return [GO]
