"""Go keeps what the contract of a language promises, on every backend."""

from __future__ import annotations

import pytest
from xagent_lang_go.language import GO

from xagent_core.testing import LanguageConformance, fixed


class TestGo(LanguageConformance):
    pytestmark = pytest.mark.timeout(900)  # the first to need Go waits until its library is built

    language = fixed(GO)
