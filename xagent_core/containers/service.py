"""One container engine's service: its SDK's blocking calls in a few threads, and their failures as xagent's errors."""

from __future__ import annotations

import asyncio
import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Literal, ParamSpec, Self, TypeAlias, TypeVar

from xagent_core.abc.backend import Capabilities, SandboxSpec
from xagent_core.containers.advice import Advice, unavailable
from xagent_core.containers.endpoint import Endpoint
from xagent_core.containers.images import Image
from xagent_core.containers.streams import AttachedStreams
from xagent_core.errors import (
    BackendError,
    BackendUnavailableError,
    ImageNotFoundError,
    SandboxStartError,
)

__all__ = ["Removal", "Service", "ServiceChoice"]

P = ParamSpec("P")
T = TypeVar("T")
Removal: TypeAlias = Literal["removed", "gone", "ending"]

# Starts and kills of sandboxes wait for the service, which does about as many at once on a few cores.
_THREADS: Final = 8
_ATTACH: Final = "stream=1&stdin=1&stdout=1&stderr=1"


@dataclass(frozen=True, kw_only=True, slots=True)
class ServiceChoice:
    """Which service is used, and how.

    Attributes:
        base_url: Its address, if it is not to be looked for.
        environ: The environment, by which it is found.
        runtime: The OCI runtime that it must have; None for its own choice.
        network: Its network for programs that may reach the internet; empty for its own choice.
    """

    base_url: str | None = None
    environ: Mapping[str, str]
    runtime: str | None = None
    network: str = ""


class Service(ABC):
    """A container engine that answered, and can hold the policies that are no choice.

    The plain methods that `call` gets are the SDK's: they block.

    Attributes:
        advice: Its words in errors; `advice.component` is the backend's name.
        endpoint: Its address.
        choice: What was asked for.
        api: Where its API begins: `/v1.41`.
        internet: Whether the network for programs that may reach the internet exists.
    """

    advice: Advice
    internet: bool = False

    def __init__(self, endpoint: Endpoint, choice: ServiceChoice, *, api: str, pool: ThreadPoolExecutor) -> None:
        self.endpoint = endpoint
        self.choice = choice
        self.api = api
        self._pool = pool

    @classmethod
    async def connect(cls, choice: ServiceChoice) -> Self:
        """Finds the service, starts it where that is allowed, and asks it who it is.

        Raises:
            BackendUnavailableError: It does not answer, or cannot hold sandboxes.
        """
        pool = ThreadPoolExecutor(_THREADS, thread_name_prefix=f"xagent-{cls.advice.component}")
        try:
            return await asyncio.get_running_loop().run_in_executor(pool, cls._open, choice, pool)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise

    @classmethod
    @abstractmethod
    def _open(cls, choice: ServiceChoice, pool: ThreadPoolExecutor) -> Self:
        """What `connect` does, blocking; a connection that was opened is closed where it raises."""

    @property
    @abstractmethod
    def foreign(self) -> tuple[type[BaseException], ...]:
        """All that a call of the SDK can raise."""

    @abstractmethod
    def refusal(self, error: BaseException) -> str | None:
        """The service's own words where an error of the SDK means that it refused; None where it did not answer."""

    @abstractmethod
    async def describe(self) -> tuple[str, str]:
        """Asks the service who it is.

        Returns:
            Its version, and one sentence for a reader.

        Raises:
            BackendUnavailableError: It does not answer.
        """

    @abstractmethod
    def capabilities(self) -> Capabilities:
        """What is enforced there."""

    @abstractmethod
    async def create(self, spec: SandboxSpec, image: Image, *, name: str, labels: Mapping[str, str]) -> str:
        """Creates a container, and does not start it.

        Returns:
            Its id.

        Raises:
            ImageNotFoundError: The image was removed.
            SandboxStartError: Anything else, a limit that would not be held included.
            BackendUnavailableError: Nothing answers.
        """

    @abstractmethod
    async def start(self, container: str) -> None:
        """Starts a container.

        Raises:
            SandboxStartError: It could not.
            BackendUnavailableError: Nothing answers.
        """

    @abstractmethod
    async def remove(self, container: str) -> Removal:
        """Kills a container and removes it, in whatever state it is; one that is gone already is fine.

        Returns:
            `removed` by this call, `gone` before it, or `ending`: the service is about to remove it by itself.

        Raises:
            BackendError: The service could not do it or does not answer.
        """

    @abstractmethod
    async def sandboxes(self) -> Mapping[str, Mapping[str, str]]:
        """The labels of all containers that have the label `xagent-sandbox`, by id.

        Raises:
            BackendError: The service does not answer.
        """

    @abstractmethod
    async def image(self, name: str) -> Image | None:
        """Looks an image up.

        Raises:
            BackendUnavailableError: The service does not answer.
        """

    @abstractmethod
    async def pull(self, name: str, fix: str) -> None:
        """Pulls an image.

        Args:
            name: Its name.
            fix: What the error advises.

        Raises:
            ImageNotFoundError: The registry cannot be reached, or does not have it.
            BackendUnavailableError: The service does not answer.
        """

    @abstractmethod
    def close(self) -> None:
        """Frees its connections, and with `super().close()` its threads when their calls have ended."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def call(self, doing: str, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs a method of the SDK in a thread. A call that was begun ends, whether or not somebody waits for it.

        Args:
            doing: What is asked of the service, for the error: `the daemon could not DOING`.
            function: The method.
            *args: Its arguments.
            **kwargs: The same.

        Raises:
            Exception: The SDK's own, for the answers 404 and 409: only the caller knows what they mean.
            SandboxStartError: The service refused.
            BackendUnavailableError: It does not answer any more.
        """
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._pool, functools.partial(function, *args, **kwargs))
        except self.foreign as error:
            if getattr(error, "status_code", None) in (404, 409):
                raise
            raise self._failure(error, doing) from error

    @contextmanager
    def pulling(self, name: str, fix: str) -> Iterator[None]:
        """Turns what the pull of an image raises into the errors of `pull`, whose arguments it takes."""
        failures: tuple[type[BaseException], ...] = (BackendError, *self.foreign)
        try:
            yield
        except BackendUnavailableError:
            raise
        except failures as error:
            words = error.cause if isinstance(error, BackendError) else self.refusal(error) or str(error)
            words = words.removeprefix(f"the {self.advice.service} could not pull {name}: ")
            raise ImageNotFoundError(self.advice.component, f"image {name} cannot be pulled: {words}", fix) from error

    async def attach(self, container: str) -> AttachedStreams:
        """Connects the streams of a container that is not yet started: later, output could be lost.

        Raises:
            SandboxStartError: The service refused.
            BackendUnavailableError: Nothing answers.
        """
        path = f"{self.api}/containers/{container}/attach?{_ATTACH}"
        try:
            streams = await self.endpoint.connect(lambda: AttachedStreams(path))
            try:
                attached = await streams.attached()
            except BaseException:
                streams.close()
                raise
        except OSError as error:
            raise unavailable(error, self.endpoint, self.advice) from error
        if not attached:
            streams.close()
            raise self._refused("attach to the sandbox", streams.refusal)
        return streams

    def _failure(self, error: BaseException, doing: str) -> BackendError:
        """Why the service did not do something: with its own words, or that it did not answer."""
        words = self.refusal(error)
        return self._refused(doing, words) if words is not None else unavailable(error, self.endpoint, self.advice)

    def _refused(self, doing: str, words: str) -> SandboxStartError:
        fix = next((fix for part, fix in self.advice.refusals.items() if part in words.lower()), "")
        return SandboxStartError(self.advice.component, f"the {self.advice.service} could not {doing}: {words}", fix)
