"""What this plugin registers."""

from __future__ import annotations

from collections.abc import Sequence

from xagent_core import Language, Packages, hookimpl


@hookimpl
def xagent_register_languages() -> Sequence[Language]:
    """Perl, with its standard library."""
    return [
        Language(
            name="perl",
            summary="Perl 5",
            aliases=("pl",),
            extensions=(".pl",),
            executables=("perl",),
            run=("perl", "{source}"),
            hello='print "hello\\n";',
            samples="xagent_lang_perl:samples.toml",
            image="perl:5-slim",
            packages=Packages(apt=("perl",)),
        )
    ]
