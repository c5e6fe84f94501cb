"""Perl keeps what the contract of a language promises, on every backend that is installed and can be used."""

import pytest

from xagent_core.testing import LanguageConformance


class TestPerl(LanguageConformance):
    @pytest.fixture(scope="class")
    @classmethod
    def language(cls):
        return "perl"
