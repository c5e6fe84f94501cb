"""Tells text from other things, and reads it."""

from __future__ import annotations

import codecs
import re
from typing import Final

import httpx

__all__ = ["content_type", "decode", "window"]

_TEXTUAL: Final = re.compile(
    r"text/.+|.+/(.+\+)?(json|xml|yaml|toml)|application/(x-)?(javascript|ecmascript|ndjson|x-ndjson|sql|graphql|"
    r"x-www-form-urlencoded|x-sh|x-yaml|rtf)"
)
_META: Final = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([A-Za-z0-9_:.-]{2,40})", re.IGNORECASE)
_CHARSET: Final = re.compile(r";\s*charset\s*=\s*[\"']?([A-Za-z0-9_:.-]{2,40})", re.IGNORECASE)
_MARKS: Final = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_ENCODINGS: Final = re.compile(
    r"utf-(8|8-sig|16|16-le|16-be|32|32-le|32-be)|ascii|iso8859-\d+|cp\d+|mac-\w+|koi8-\w|gb\w+|big5\w*|shift_jis\w*|"
    r"euc_\w+|iso2022_\w+|johab|hz|tis-620|kz1048|ptcp154"
)
_HEAD: Final = 2048


def content_type(headers: httpx.Headers) -> str:
    """The media type alone, in lower case; empty where the server does not say."""
    stated: str = headers.get("content-type", "")
    return stated.partition(";")[0].strip().lower()


def decode(body: bytes, headers: httpx.Headers) -> tuple[str, str] | None:
    """Reads a body as text.

    The byte order mark decides, then the header, then UTF-8 where it fits, then what a page says of itself, then a
    guess.

    Returns:
        The text, and the encoding's name; None where it is not text.
    """
    kind = content_type(headers)
    marked = next((name for mark, name in _MARKS.items() if body.startswith(mark)), "")
    if not (marked or _TEXTUAL.fullmatch(kind)) and (kind not in {"", "application/octet-stream"} or b"\0" in body):
        return None
    stated = _CHARSET.search(headers.get("content-type", ""))
    for name in (marked, stated[1] if stated else "", "utf-8", _said(body)):
        if name and (text := _read(body, name)) is not None:
            return text, name
    if not _TEXTUAL.fullmatch(kind):
        return None
    from charset_normalizer import from_bytes

    best = from_bytes(body[: 64 * 1024]).best()
    name = best.encoding if best else "utf-8"
    return body.decode(name, "replace"), name


def window(text: str, offset: int, most: int) -> dict[str, object]:
    """A part of a text, and how much there is: what a model needs to go on reading."""
    part = text[offset : offset + most]
    shown: dict[str, object] = {"content": part, "offset": offset, "total_characters": len(text)}
    if offset + len(part) < len(text):
        shown["next_offset"] = offset + len(part)
    return shown


def _said(body: bytes) -> str:
    found = _META.search(body[:_HEAD])
    return found[1].decode("ascii") if found else ""


def _read(body: bytes, name: str) -> str | None:
    try:
        codec = codecs.lookup(name)
        # Python also calls things encodings that unpack (zlib), or that take a time that grows with the square.
        if not _ENCODINGS.fullmatch(codec.name):
            return None
        # A last character that is cut through, as the body was, is left away.
        return codec.incrementaldecoder("strict").decode(body) if codec.incrementaldecoder else None
    except (LookupError, UnicodeError, ValueError):
        return None
