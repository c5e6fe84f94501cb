"""Decides what one execution may use: the caller's limits, the language's needs, and what the backend can hold."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from xagent_core.abc.backend import Capabilities, SandboxSpec
from xagent_core.abc.language import Language, Program
from xagent_core.errors import InvalidRequestError, PolicyNotSupportedError
from xagent_core.guest.script import BASE_ENV, guest_command
from xagent_core.types import KIB, MIB, ExecutionRequest, Limits, format_size

__all__ = ["DEFAULT_LIMITS", "JobLimits", "Plan", "plan"]

DEFAULT_LIMITS: Final = Limits(
    memory=128 * MIB,
    cpus=0.5,
    timeout=30.0,
    processes=64,
    scratch=10 * MIB,
    output=MIB,
    collect=10 * MIB,
)
"""What holds where neither the caller, nor the configuration, nor the language says more."""

# The limits that the sandbox itself holds; core holds the others.
_SANDBOX_LIMITS: Final = ("memory", "cpus", "processes", "scratch")


@dataclass(frozen=True, kw_only=True, slots=True)
class JobLimits:
    """The limits that core holds while a job runs.

    Attributes:
        timeout: Seconds.
        output: Bytes of each stream.
        collect: Bytes of all collected files.
    """

    timeout: float
    output: int
    collect: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """A request that is ready to run.

    Attributes:
        program: What to run.
        spec: The sandbox that it needs.
        limits: What core holds.
    """

    program: Program
    spec: SandboxSpec
    limits: JobLimits

    @property
    def cold(self) -> SandboxSpec:
        """The sandbox to start for it when none stands by, without an interpreter that waits for its source."""
        return replace(self.spec, command=guest_command())


def plan(
    request: ExecutionRequest, language: Language, *, defaults: Limits, backend: str, capabilities: Capabilities
) -> Plan:
    """Turns a request into a program and the sandbox that holds every policy it asks for.

    Args:
        request: What the caller wants.
        language: Its language.
        defaults: For the limits that the caller did not set; every one of them is set.
        backend: The backend's name, for errors.
        capabilities: What that backend holds.

    Returns:
        The plan. Its spec lists the *default* limits that the backend cannot hold; a limit that the caller set and
        a network policy are never among them.

    Raises:
        InvalidRequestError: A limit is less than the language needs, or the program does not fit the scratch space.
        PolicyNotSupportedError: The backend cannot hold what the caller asked for.
    """
    needs = {
        "memory": language.needs.memory,
        "scratch": language.needs.scratch,
        "processes": language.needs.processes,
    }
    for name, least in needs.items():
        asked = getattr(request.limits, name)
        if asked is not None and asked < least:
            given, wanted = (format_size(x) if name in Limits.SIZES else str(x) for x in (asked, least))
            raise InvalidRequestError(
                "request",
                f"limit {name}={given} is less than {language.name} needs ({wanted})",
                f"Set at least {wanted}, or leave it out: the default is raised by itself.",
            )
    raised = Limits(**{name: max(least, getattr(defaults, name)) for name, least in needs.items()}).over(defaults)
    limits = request.limits.over(raised)
    _refuse_unheld(request, backend, capabilities)

    program = language.prepare(request)
    # The program may be there twice: a standby interpreter reads it from a pipe while the file is put in its place.
    size = len(program.source) + len(request.stdin) + sum(len(file.content) for file in request.files)
    scratch = limits.scratch or 0
    if size + 64 * KIB > scratch:
        raise InvalidRequestError(
            "request",
            f"code, input and files are {size} bytes and the scratch space is {format_size(scratch)}",
            "Raise the scratch limit.",
        )
    source = program.source_name
    if clash := next((f.path for f in request.files if f"{f.path}/".startswith(f"{source}/")), None):
        raise InvalidRequestError("request", f"input file {clash!r} would replace the program {source!r}")
    return Plan(
        program=program,
        spec=SandboxSpec(
            command=guest_command(source_name=program.source_name, standby=program.standby),
            language=language.name,
            image=language.image,
            executables=language.executables,
            packages=language.packages,
            # A standby interpreter has started before the job's environment comes.
            env=(*BASE_ENV, *(program.env.items() if program.standby else ())),
            memory=limits.memory or 0,
            cpus=limits.cpus or 0.0,
            processes=limits.processes or 0,
            scratch=scratch,
            scratch_exec=language.needs.exec,
            network=request.network,
            unenforced=tuple(name for name in _SANDBOX_LIMITS if name not in capabilities.limits),
        ),
        limits=JobLimits(timeout=limits.timeout or 0.0, output=limits.output or 0, collect=limits.collect or 0),
    )


def _refuse_unheld(request: ExecutionRequest, backend: str, capabilities: Capabilities) -> None:
    if request.network not in capabilities.networks:
        raise PolicyNotSupportedError(
            backend,
            f"it cannot hold network={request.network.value!r}",
            f"It offers {', '.join(sorted(policy.value for policy in capabilities.networks))}.",
        )
    for name in _SANDBOX_LIMITS:
        if getattr(request.limits, name) is not None and name not in capabilities.limits:
            raise PolicyNotSupportedError(
                backend,
                f"it cannot hold the limit {name} on this machine ({capabilities.how.get(name, 'not held')})",
                "Leave the limit out, or choose another backend: see `xagent doctor`.",
            )
