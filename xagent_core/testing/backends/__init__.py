"""The suite of sandbox backends: the contract of `xagent_core.abc.backend`, tested."""

from __future__ import annotations

from xagent_core.testing.backends.common import BackendSource, make_backend
from xagent_core.testing.backends.hardening import HardeningConformance
from xagent_core.testing.backends.limits import LimitConformance
from xagent_core.testing.backends.lives import LifeConformance
from xagent_core.testing.backends.owners import OwnerConformance
from xagent_core.testing.backends.streams import StreamConformance

__all__ = ["BackendConformance", "BackendSource", "make_backend"]


class BackendConformance(
    StreamConformance, LifeConformance, OwnerConformance, LimitConformance, HardeningConformance, suite=True
):
    """All that a sandbox backend promises; the capabilities that it claims decide what applies.

        class TestMine(BackendConformance):
            backend = fixed(MyBackend)

    See `BackendSuite` for the further fixtures that a class may define.
    """
