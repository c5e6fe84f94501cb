"""Bash keeps what the contract of a language promises, on every backend."""

from __future__ import annotations

from xagent_core.testing import LanguageConformance, fixed


class TestBash(LanguageConformance):
    language = fixed("bash")
