"""TypeScript keeps what the contract of a language promises, on every backend."""

from __future__ import annotations

from xagent_lang_typescript.language import TYPESCRIPT

from xagent_core.testing import LanguageConformance, fixed


class TestTypeScript(LanguageConformance):
    language = fixed(TYPESCRIPT)
