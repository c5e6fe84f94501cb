"""Python keeps what the contract of a language promises, on every backend."""

from __future__ import annotations

import pytest
from xagent_lang_python.language import PYTHON

from xagent_core.testing import LanguageConformance


class TestPython(LanguageConformance):
    @pytest.fixture(scope="class")
    @classmethod
    def language(cls):
        return PYTHON
