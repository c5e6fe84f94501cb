"""Bash keeps what the contract of a language promises, on every backend."""

from __future__ import annotations

import pytest

from xagent_core.testing import LanguageConformance


class TestBash(LanguageConformance):
    @pytest.fixture(scope="class")
    @classmethod
    def language(cls):
        return "bash"
