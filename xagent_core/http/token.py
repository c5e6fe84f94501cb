"""The secret that callers of an HTTP server show: found, made, compared in constant time."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import MutableMapping
from pathlib import Path
from typing import Final

from xagent_core.errors import ConfigError

__all__ = ["TOKEN_VARIABLE", "Token", "find_token"]

TOKEN_VARIABLE: Final = "XAGENT_TOKEN"  # noqa: S105 - the variable's name
"""The environment variable that may hold the token."""

_SHORTEST: Final = 16  # characters: 96 bits where they are random base64
_BYTES: Final = 32


class Token:
    """A bearer token. Neither its `repr` nor its `str` shows it.

    Args:
        value: At least 16 printable ASCII characters without spaces.
        source: Where it came from, for errors and for the reader; empty where it was made here.

    Raises:
        ConfigError: The value cannot be a token.
    """

    def __init__(self, value: str, source: str = "") -> None:
        if len(value) < _SHORTEST or not value.isascii() or not value.isprintable() or " " in value:
            raise ConfigError(
                source or "token",
                f"a token has at least {_SHORTEST} printable ASCII characters, and no spaces",
                "Make one: python3 -c 'import secrets; print(secrets.token_urlsafe(32))'",
            )
        self._value = value
        self.source = source

    @classmethod
    def made(cls) -> Token:
        """A new one of 256 random bits."""
        return cls(secrets.token_urlsafe(_BYTES))

    def __repr__(self) -> str:
        return f"Token(source={self.source!r})"

    def matches(self, shown: str) -> bool:
        """Whether that is the token; takes the same time whatever was right about it."""
        return hmac.compare_digest(shown.encode("utf-8", "replace"), self._value.encode())

    def reveal(self) -> str:
        """The token itself, to be printed once for the one who started the server."""
        return self._value


def find_token(file: Path | None, environ: MutableMapping[str, str]) -> Token | None:
    """The token that the operator gave.

    Args:
        file: Holds it on its first line; goes before the variable.
        environ: May hold it as `XAGENT_TOKEN`. It is taken out, so that no child process inherits it.

    Returns:
        The token; None where there is none.

    Raises:
        ConfigError: The file cannot be read, or what was found cannot be a token.
    """
    given = environ.pop(TOKEN_VARIABLE, "")
    if file is not None:
        try:
            text = file.read_text("utf-8")
        except (OSError, ValueError) as error:
            raise ConfigError(str(file), f"the token cannot be read: {error}") from error
        return Token(text.partition("\n")[0].strip(), str(file))
    return Token(given.strip(), f"the variable {TOKEN_VARIABLE}") if given else None
