"""Gathers what `xagent run` is given: the program, its language, its input, files and variables."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

import typer

from xagent_core.errors import UnknownLanguageError
from xagent_core.types import MIB, InputFile

if TYPE_CHECKING:
    from xagent_core.config import Settings
    from xagent_core.plugins import Plugins

# What is larger, no queue takes by default.
_LARGEST_ARGUMENTS: Final = 16 * MIB

__all__ = ["environment", "input_file", "language_of", "own_input", "room", "source", "text_or_file"]


def language_of(path: Path, plugins: Plugins) -> str:
    """The language that a file's extension stands for.

    Raises:
        UnknownLanguageError: It stands for none that is installed.
        typer.BadParameter: The path is a folder.
    """
    if path.is_dir():
        raise typer.BadParameter(f"{path} is a folder", param_hint="FILE")
    if found := plugins.language_for_file(path.name):
        # An alias that is an extension says which kind of source it is, as with .mjs and .cjs.
        ending = max((e for e in found.extensions if path.name.endswith(e)), key=len).removeprefix(".")
        return ending if ending in found.aliases else found.name
    extensions = {extension: lang.name for lang in plugins.languages for extension in lang.extensions}
    near = difflib.get_close_matches(path.suffix, extensions, n=3)
    hint = f"Did you mean {' or '.join(f'{e} ({extensions[e]})' for e in near)}? " if near else ""
    known = ", ".join(sorted(lang.name for lang in plugins.languages)) or "none"
    cause = (
        "its extension belongs to no installed language" if path.suffix else "it has no extension to tell its language"
    )
    raise UnknownLanguageError(f"file {path.name}", cause, f"{hint}Add --language; installed: {known}.")


def room(plugins: Plugins, settings: Settings, language: str) -> int:
    """Bytes of scratch space that the program will have.

    Whatever is larger is refused in the end. Reading one byte more than that is enough to have it refused, and
    keeps an endless file from filling the memory here.
    """
    return max(settings.limits.scratch or 0, plugins.languages[language].needs.scratch)


def source(file: str, *, most: int) -> str:
    """The program's text; bytes that are not UTF-8 are kept as surrogate escapes."""
    content = sys.stdin.buffer.read(most + 1) if file == "-" else _read(Path(file), "FILE", most)
    return content.decode("utf-8", "surrogateescape")


def own_input(*, most: int) -> bytes:
    """What was piped or redirected into this process; nothing where a person sits there."""
    if sys.stdin is None or sys.stdin.isatty():
        return b""
    return sys.stdin.buffer.read(most + 1)


def input_file(text: str, *, most: int) -> InputFile:
    """`LOCAL[:PATH]` as a file; a colon that is part of an existing file's name is no separator."""
    local, _, path = text.rpartition(":")
    if not local or Path(text).exists():
        local, path = text, ""
    return InputFile(path or Path(local).name, _read(Path(local), "--file", most))


def environment(items: Iterable[str], own: Mapping[str, str]) -> dict[str, str]:
    """`NAME=VALUE` as it is, and `NAME` with the value that it has in this process."""
    env = {}
    for item in items:
        name, equals, value = item.partition("=")
        if not equals and name not in own:
            raise typer.BadParameter(f"{name} is not set here; write {name}=VALUE", param_hint="--env")
        env[name] = value if equals else own[name]
    return env


def text_or_file(text: str, option: str) -> str:
    """The text, or with `@FILE` that of a file."""
    if not text.startswith("@"):
        return text
    return _read(Path(text[1:]), option, _LARGEST_ARGUMENTS).decode("utf-8", "surrogateescape")


def _read(path: Path, option: str, most: int) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(most + 1)
    except OSError as error:
        raise typer.BadParameter(f"{path} cannot be read: {error.strerror}", param_hint=option) from error
