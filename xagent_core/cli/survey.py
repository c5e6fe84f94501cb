"""Asks every installed backend whether it can be used here and what it holds, all at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from xagent_core.abc.backend import Backend, BackendRegistration, Capabilities, Probe
from xagent_core.config import Settings
from xagent_core.errors import XAgentError
from xagent_core.plugins import Plugins
from xagent_core.selection import get_backend

__all__ = ["BackendReport", "close", "survey"]

# Twice what the contract allows a probe.
_SECONDS: Final = 20.0


@dataclass(frozen=True, kw_only=True, slots=True)
class BackendReport:
    """A backend as it was found.

    Attributes:
        registration: What its plugin announced.
        distribution: What provides it.
        probe: What it said of itself, or what went wrong when it was asked.
        capabilities: What it holds; None where it cannot be used.
        broken: Whether its plugin failed in a way that the contract does not allow.
        backend: The backend itself, for further questions; None where it could not be made.
    """

    registration: BackendRegistration
    distribution: str
    probe: Probe
    capabilities: Capabilities | None = None
    broken: bool = False
    backend: Backend | None = None

    @property
    def usable(self) -> bool:
        """Whether sandboxes can be expected to start."""
        return self.capabilities is not None

    def document(self) -> dict[str, Any]:
        """This report as plain values."""
        held = self.capabilities
        return {
            "name": self.registration.name,
            "summary": self.registration.summary,
            "distribution": self.distribution,
            "preference": self.registration.preference,
            **asdict(self.probe),
            "available": self.usable,
            "broken": self.broken,
            "capabilities": held
            and {
                "limits": sorted(held.limits),
                "networks": sorted(network.value for network in held.networks),
                "how": dict(held.how),
                "images": held.images,
                "reports_usage": held.reports_usage,
            },
        }


async def survey(plugins: Plugins, settings: Settings) -> list[BackendReport]:
    """Looks at every backend, the preferred ones first. The caller closes them with `close`."""
    registrations = sorted(plugins.backends, key=lambda registration: registration.preference)
    return await asyncio.gather(*(_look(registration, plugins, settings) for registration in registrations))


async def close(reports: Sequence[BackendReport]) -> None:
    """Frees the backends of the reports."""
    await asyncio.gather(*(report.backend.aclose() for report in reports if report.backend))


async def _look(registration: BackendRegistration, plugins: Plugins, settings: Settings) -> BackendReport:
    distribution = plugins.backends.distribution(registration.name)
    backend: Backend | None = None
    capabilities: Capabilities | None = None
    broken = False
    try:
        backend = get_backend(registration.name, plugins=plugins, settings=settings)
        async with asyncio.timeout(_SECONDS):
            probe = await backend.probe()
            if probe.available:
                capabilities = await backend.capabilities()
    except TimeoutError:
        probe = Probe(available=False, detail=f"it did not answer within {_SECONDS:g} s")
    except XAgentError as error:
        probe = Probe(available=False, detail=error.cause, fix=error.fix)
    # A backend that breaks its contract must not keep the others from being looked at.
    except Exception as error:
        broken = True
        detail = f"its plugin failed: {type(error).__name__}: {error}"
        probe = Probe(available=False, detail=detail, fix=f"Upgrade {distribution}, or report it to its authors.")
    return BackendReport(
        registration=registration,
        distribution=distribution,
        probe=probe,
        capabilities=capabilities,
        broken=broken,
        backend=backend,
    )
