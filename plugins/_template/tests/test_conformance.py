"""Perl keeps what the contract of a language promises, on every backend that is installed and can be used."""

from xagent_core.testing import LanguageConformance, fixed


class TestPerl(LanguageConformance):
    language = fixed("perl")
