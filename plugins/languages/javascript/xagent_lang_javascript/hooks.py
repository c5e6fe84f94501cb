"""Announces JavaScript."""

from __future__ import annotations

from xagent_core.abc.language import Language
from xagent_core.hookspecs import hookimpl
from xagent_lang_javascript.language import JAVASCRIPT


@hookimpl
def xagent_register_languages() -> list[Language]:
    """JavaScript by Node.js."""
    return [JAVASCRIPT]
