"""Perl programs run in a sandbox; the marker `engine` skips a test where that backend cannot be used."""

import pytest

from xagent_core import Engine, InputFile

pytestmark = pytest.mark.engine("bubblewrap")


@pytest.fixture
async def engine():
    async with Engine("bubblewrap") as engine:
        yield engine


async def test_it_counts_words_of_a_file(engine):
    result = await engine.execute(
        'open my $f, "<", "words.txt" or die; $n{$_}++ for map { split } <$f>; print "$_=$n{$_}\\n" for sort keys %n;',
        language="perl",
        files=[InputFile("words.txt", b"to be or not to be\n")],
    )
    assert (result.status, result.output) == ("success", "be=2\nnot=1\nor=1\nto=2\n")


async def test_dying_is_an_error_with_perls_own_words(engine):
    result = await engine.execute('die "no way\\n"', language="pl")
    assert (result.status, result.exit_code, result.error) == ("error", 255, "no way\n")
