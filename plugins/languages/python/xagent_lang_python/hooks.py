"""Announces Python."""

from __future__ import annotations

from xagent_core.abc.language import Language
from xagent_core.hookspecs import hookimpl
from xagent_lang_python.language import PYTHON


@hookimpl
def xagent_register_languages() -> list[Language]:
    """Python by the `python3` of the machine or of the image."""
    return [PYTHON]
