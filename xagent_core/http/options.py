"""The options that every command has which opens a server, and what they come to: a door, and who may come in."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from xagent_core.http.server import Door, open_door
from xagent_core.http.token import TOKEN_VARIABLE, Token, find_token

__all__ = [
    "AllowedHosts", "AskToken", "BackendName", "Certificate", "Entry", "Grace", "Host", "Key", "Port", "TokenFile",
    "ToolNames", "Workspace", "open_entry",
]  # fmt: skip

Host = Annotated[str, typer.Option(help="The address to listen on.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="0 lets the system choose.")]
BackendName = Annotated[
    str | None, typer.Option("--backend", "-b", help="A backend's name, or auto for the best that answers.")
]
Workspace = Annotated[
    Path | None,
    typer.Option(
        help="The folder that file tools are confined to, made where it is missing. Without it, there are none.",
        file_okay=False,
    ),
]
ToolNames = Annotated[
    list[str] | None,
    typer.Option("--tool", metavar="NAME", help="Serve only this tool. Repeatable.", show_default=False),
]
TokenFile = Annotated[
    Path | None, typer.Option(help=f"Holds the token. The variable {TOKEN_VARIABLE} may hold it as well.")
]
AskToken = Annotated[bool, typer.Option("--token", help="Ask for a token also where only this machine can call.")]
AllowedHosts = Annotated[
    list[str] | None,
    typer.Option("--allowed-host", metavar="NAME", help="A name that the server is called by. Repeatable."),
]
Certificate = Annotated[Path | None, typer.Option(help="A PEM file, for TLS.", dir_okay=False)]
Key = Annotated[Path | None, typer.Option(help="The certificate's key.", dir_okay=False)]
Grace = Annotated[float, typer.Option(min=1, help="Seconds that requests have to end when the server does.")]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """An open door, and who may come in.

    Attributes:
        door: It listens.
        token: What callers show; None for this user's own processes.
        hosts: The names that the server is called by, as `Guard` takes them.
    """

    door: Door
    token: Token | None
    hosts: Sequence[str] | None

    def lines(self, *, login: str = "") -> list[str]:
        """What whoever started the server is told. A token that was made is in it, here and nowhere else.

        Args:
            login: The path where a browser logs in; empty where there is none.
        """
        reached = [] if self.door.is_local else [f"other machines can call, too: it listens on {self.door.host}"]
        if self.token is None:
            return ["callers are this user's processes; --token asks for a token instead"]
        if self.token.source:
            return [*reached, f"callers show the token of {self.token.source}"]
        # Behind the # it never leaves the browser, nor gets into a log.
        link = [f"log in at {self.door.url}{login}#token={self.token.reveal()}"] if login else []
        return [*reached, f"the token, which is shown only now: {self.token.reveal()}", *link]


@contextlib.contextmanager
def open_entry(
    host: str,
    port: int,
    *,
    token_file: Path | None,
    ask_token: bool,
    allowed_hosts: Sequence[str] | None,
    certificate: Path | None,
    key: Path | None,
) -> Iterator[Entry]:
    """Listens, and decides who may come in: where other machines can call, only who shows a token.

    Raises:
        ConfigError: The address cannot be listened on, or the token cannot be used.
    """
    token = find_token(token_file, os.environ)
    door = open_door(host, port, certificate=certificate, key=key)
    with door.socket:
        if token is None and (ask_token or not door.is_local):
            token = Token.made()
        # Where other machines call, the names are checked that somebody gave; the token is asked for in any case.
        yield Entry(door=door, token=token, hosts=allowed_hosts or (() if door.is_local else None))
