"""The command `xagent images`: its arguments, and what it prints."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Annotated, Any

import typer
from rich.filesize import decimal

from xagent_core.abc.language import Language, Packages
from xagent_core.catalogue import Catalogue
from xagent_core.cli.interrupt import run_interruptible
from xagent_core.cli.report import JSON_OPTION, note, print_json, print_table
from xagent_core.config import load_settings
from xagent_core.containers.advice import without_registry
from xagent_core.containers.backend import ContainerBackend
from xagent_core.containers.service import ServiceChoice
from xagent_core.errors import InvalidRequestError, UnknownLanguageError, XAgentError
from xagent_core.owner import Owner
from xagent_core.plugins import load_plugins
from xagent_core.selection import get_backend
from xagent_docker.daemon import Daemon
from xagent_docker.endpoint import COMPONENT
from xagent_docker.events import Events
from xagent_docker.images.build import Outcome, build_images
from xagent_docker.images.failures import COMPONENT as FAILING
from xagent_docker.images.inventory import LanguageImages, Slot, take_stock
from xagent_docker.images.progress import PullBar, Steps
from xagent_docker.images.pull import pull_image
from xagent_docker.images.recipe import PresentImage, inspect
from xagent_docker.images.sources import machine_source, named_source

__all__ = ["make_app"]

_FAILED = 125

Languages = Annotated[list[str] | None, typer.Argument(help="Languages; by default all that are installed.")]
Json = Annotated[bool, JSON_OPTION]
Of = Annotated[str, typer.Option("--backend", help="Whose images: a backend on an engine that speaks Docker's API.")]


def make_app(installed: Callable[[], Catalogue[Language]] | None = None) -> typer.Typer:
    """The command's application.

    Args:
        installed: Finds the languages; by default those of the installed plugins.
    """
    app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    find = installed or _installed

    @app.callback()
    def images() -> None:
        """List, pull and build the images that languages run in."""

    @app.command("list")
    def list_images(*, backend: Of = COMPONENT, as_json: Json = False) -> None:
        """Show each language's images, and which one its sandboxes use."""
        stock = run_interruptible(_stock(list(find()), backend))
        if as_json:
            print_json([_stock_document(item) for item in stock])
        else:
            print_table(["Language", "Default image", "Own image", "Used"], map(_stock_row, stock))

    @app.command()
    def pull(languages: Languages = None, *, backend: Of = COMPONENT, as_json: Json = False) -> None:
        """Pull the default images from their registry."""
        documents, errors = run_interruptible(_pull(_selected(find(), languages), backend))
        if as_json:
            print_json(documents)
        else:
            rows = ([", ".join(d["languages"]), d["image"], _size(d["size"])] for d in documents if not d["error"])
            print_table(["Languages", "Image", "Size"], rows)
        _end(errors, as_json=as_json)

    @app.command()
    def build(
        languages: Languages = None,
        *,
        force: Annotated[
            bool, typer.Option("--force", help="Build what is current as well, with the newest packages.")
        ] = False,
        suite: Annotated[str, typer.Option(help="Release of Debian or Ubuntu; by default this machine's.")] = "",
        mirror: Annotated[
            str, typer.Option(help="Mirror of the packages, or a line of a sources.list; by default apt's own.")
        ] = "",
        backend: Of = COMPONENT,
        as_json: Json = False,
    ) -> None:
        """Build the project's own images; this needs no container registry.

        They are made of Debian packages and of wheels, which apt and pip get from where they are configured to.
        """
        chosen = _selected(find(), languages)
        outcomes = run_interruptible(_build(chosen, backend, force=force, suite=suite, mirror=mirror))
        errors = [outcome.error for outcome in outcomes if outcome.error]
        if errors and len({str(error) for error in errors}) == 1 and len(errors) == len(outcomes):
            raise errors[0]
        if as_json:
            print_json([_outcome_document(outcome) for outcome in outcomes])
        else:
            print_table(["Language", "Image", "Size", "Built", "Of"], map(_outcome_row, outcomes))
        _end(errors, as_json=as_json)

    return app


def _installed() -> Catalogue[Language]:
    return load_plugins(load_settings().disabled_plugins).languages


def _selected(installed: Catalogue[Language], names: Sequence[str] | None) -> list[Language]:
    """The languages of those names, each once; all where none is named.

    Raises:
        UnknownLanguageError: One is not installed, or none is at all.
    """
    found = list({language.name: language for language in map(installed.__getitem__, names)}.values()) if names else []
    if not found and not (found := list(installed)):
        raise UnknownLanguageError("images", "no language is installed", "Install one: pip install xagent-lang-python")
    return found


@asynccontextmanager
async def _daemon(backend: str) -> AsyncIterator[tuple[Daemon, Mapping[str, Any]]]:
    """A connection to the daemon that the backend uses, and the backend's options."""
    options = load_settings().backends.get(backend, {})
    async with AsyncExitStack() as stack:
        address = options.get("base_url")
        if backend != COMPONENT:
            other = get_backend(backend)
            stack.push_async_callback(other.aclose)
            if not isinstance(other, ContainerBackend):
                raise InvalidRequestError(FAILING, f"the backend {backend} has no images")
            address = await other.address()
        daemon = await Daemon.connect(ServiceChoice(base_url=address, environ=os.environ))
        stack.callback(daemon.close)
        # While it is listened to, a service that was started for this does not end for want of clients.
        events = Events(daemon, owner=str(Owner.current()), since=int(time.time()))
        await events.open()
        stack.push_async_callback(events.aclose)
        yield daemon, options


async def _stock(languages: Iterable[Language], backend: str) -> list[LanguageImages]:
    async with _daemon(backend) as (daemon, options):
        return await take_stock(daemon, languages, options.get("images", {}))


async def _build(languages: Iterable[Language], backend: str, *, force: bool, suite: str, mirror: str) -> list[Outcome]:
    source = machine_source()
    if mirror or suite not in ("", source.suite):
        source = named_source(suite or source.suite, mirror)
    async with _daemon(backend) as (daemon, _):
        with Steps() as steps:
            return await build_images(daemon, languages, source=source, steps=steps, force=force, suite=suite)


async def _pull(languages: Iterable[Language], backend: str) -> tuple[list[dict[str, Any]], list[XAgentError]]:
    users: dict[str, list[Language]] = {}
    for language in languages:
        users.setdefault(language.image, []).append(language)
    for language in users.pop("", ()):
        note(f"{language.name} names no default image: {_instead('', backend, [language])}")
    documents, errors = [], []
    async with _daemon(backend) as (daemon, _):
        with PullBar() as bar:
            for name, its in users.items():
                fix = f"Check the network and the proxy of the service, or {_instead(name, backend, its)}."
                try:
                    await pull_image(daemon, name, fix, bar.image(name).line)
                except XAgentError as error:
                    errors.append(error)
                present = await inspect(daemon, name)
                names = [language.name for language in its]
                documents.append({"image": name, "languages": names, **_present_document(present)})
                documents[-1]["error"] = str(errors[-1]) if errors and name in errors[-1].cause else None
    if errors and len(errors) == len(documents) == 1:
        raise errors[0]
    return documents, errors


def _instead(image: str, backend: str, languages: Iterable[Language]) -> str:
    builds = [language.name for language in languages if language.packages != Packages()]
    return without_registry(image, backend, builds=builds)


def _end(errors: Iterable[XAgentError], *, as_json: bool) -> None:
    """Reports what failed beside what did not, and ends with the status for it."""
    failed = list(errors)
    if not as_json:
        for text in dict.fromkeys(map(str, failed)):
            note(text)
    if failed:
        raise typer.Exit(_FAILED)


def _present_document(image: PresentImage | None) -> dict[str, Any]:
    if image is None:
        return {"present": False, "id": None, "size": None, "created": None}
    return {"present": True, "id": image.id, "size": image.size, "created": image.created}


def _slot_document(slot: Slot | None) -> dict[str, Any] | None:
    return {"image": slot.name, **_present_document(slot.present)} if slot else None


def _stock_document(item: LanguageImages) -> dict[str, Any]:
    own = item.own
    made = {
        "current": own.current,
        "release": own.present.release if own.present else None,
        "versions": own.present.versions if own.present else {},
    }
    return {
        "language": item.language,
        "default": _slot_document(item.default),
        "own": {**(_slot_document(own) or {}), **made},
        "configured": _slot_document(item.chosen),
        "used": item.used_name,
    }


def _outcome_document(outcome: Outcome) -> dict[str, Any]:
    return {
        "language": outcome.language,
        "image": outcome.name,
        "built": outcome.built,
        "seconds": round(outcome.seconds, 1),
        **_present_document(outcome.image),
        "versions": outcome.image.versions if outcome.image else {},
        "error": str(outcome.error) if outcome.error else None,
    }


def _size(size: int | None) -> str:
    return decimal(size) if size is not None else ""


def _state(slot: Slot) -> str:
    if slot.present is None:
        return "not present"
    old = ", not current" if slot.current is False else ""
    return f"{_size(slot.present.size)}, {slot.present.created[:10]}{old}"


def _stock_row(item: LanguageImages) -> list[str]:
    default, used = item.default, item.used
    kind = "default" if used is default else "own" if used is item.own else f"configured: {item.used_name}"
    missing = " (pulled on first use)" if used and used.present is None else ""
    return [
        item.language,
        f"{default.name} ({_state(default)})" if default else "none",
        _state(item.own),
        f"{kind}{missing}" if used else "none",
    ]


def _outcome_row(outcome: Outcome) -> list[str]:
    image = outcome.image
    how = "failed" if outcome.error else f"in {outcome.seconds:.0f} s" if outcome.built else "is current"
    versions = image.versions.items() if image else ()
    of = ", ".join(f"{name} {version}" for name, version in versions if name != "base-files")
    return [outcome.language, outcome.name, _size(image.size if image else None), how, of]
