"""JavaScript keeps what the contract of a language promises, on every backend."""

from __future__ import annotations

from xagent_lang_javascript.language import JAVASCRIPT

from xagent_core.testing import LanguageConformance, fixed


class TestJavaScript(LanguageConformance):
    language = fixed(JAVASCRIPT)
