"""TypeScript keeps what the contract of a language promises, on every backend."""

from __future__ import annotations

import pytest
from xagent_lang_typescript.language import TYPESCRIPT

from xagent_core.testing import LanguageConformance


class TestTypeScript(LanguageConformance):
    @pytest.fixture(scope="class")
    @classmethod
    def language(cls):
        return TYPESCRIPT
