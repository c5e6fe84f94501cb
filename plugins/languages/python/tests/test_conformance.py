"""Python keeps what the contract of a language promises, on every backend."""

from __future__ import annotations

from xagent_lang_python.language import PYTHON

from xagent_core.testing import LanguageConformance, fixed


class TestPython(LanguageConformance):
    language = fixed(PYTHON)
